"""How a CSV file seems to be written, where that differs from what the settings say.

Looks at the first lines only. The results go into messages and warnings; they do not change how the file
is read.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from trainer.config.data import Csv
from trainer.config.yaml_writer import flow_text
from trainer.data.csv_text import separator_of, text_pieces
from trainer.errors import DataError, Problem

_LINES = 200
_BYTES = 1 << 16
_MOST_PREAMBLE = 30
_SEPARATORS = (",", ";", "\t", "|", " ")
_COMMENT_SIGNS = ("#", "%", "//", "!", "*", "@", "--", ";")
_NAMES = {"\t": "tab"}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?%?")
_COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+")
# Not as thousands are grouped: 1.234 may be 1234.
_POINT_NUMBER = re.compile(r"[+-]?(?:0?\.\d+|\d+\.\d{1,2}|\d+\.\d{4,}|\d{4,}\.\d+)")
_YEARS = range(1900, 2101)


def setting(name: str, value: str | int | bool) -> str:
    """A setting as it is written in a config and on the command line, both to be pasted."""
    match value:
        case bool():
            plain = typed = str(value).lower()
        case int():
            plain = typed = str(value)
        case str():
            plain = _NAMES.get(value, f'"{value}"' if "'" in value else f"'{value}'")
            typed = plain
    return f"data.csv.{name}: {plain} (on the command line data.csv.{name}={typed})"


NO_HEADER = setting("header", value=False)


@dataclass(frozen=True, slots=True)
class CsvAdvice:
    """How a file seems to be written.

    Attributes:
        found: What was seen.
        fix: The settings that read it.
        key: The first of them.
    """

    found: str
    fix: str
    key: str

    def problem(self, where: str, csv: Csv, path: Path) -> Problem:
        """What is wrong with the settings, or with the file."""
        separator = separator_of(path, csv)
        shown = _NAMES.get(separator, f"'{separator}'")
        expected = f"lines of fields separated by {shown} (data.csv.separator)"
        if csv.header:
            expected += ", the header first"
        return Problem(where, expected, self.found, self.fix, self.key)


def advice(path: Path, csv: Csv) -> CsvAdvice | None:
    """Settings that would read a file, where it does not look as if the present ones did."""
    lines = _first_lines(path, csv)
    if not lines:
        return None
    known = separator_of(path, csv)
    order = dict.fromkeys((known, *_SEPARATORS))
    better = _quoted_otherwise([text for _, text in lines], known, csv)
    if better is not None:
        return better
    for start in range(min(_MOST_PREAMBLE, len(lines) - 1) + 1):
        texts = [text for _, text in lines[start:]]
        widths = {sign: _common_width(texts, sign, csv) for sign in order}
        signs = [sign for sign in order if widths[sign] > 1]
        if len(signs) > 1 and known != " ":
            # Beside another separator, blanks are part of the text.
            signs = [sign for sign in signs if sign != " "]
        if not signs:
            continue
        best = known if known in signs else max(signs, key=lambda sign: widths[sign])
        if start == 0 and best == known:
            return None
        if start and csv.header:
            above = [field.strip() for field in _fields(lines[start - 1][1], best, csv)]
            if start == 1 and best == known and len(above) > 1:
                labels = [_fields(text, best, csv)[0] for text in texts]
                return _unnamed_first(above, widths[best], labels)
        headless = csv.header and start > 0 and _looks_like_rows(texts, best, csv)
        if headless and not _is_preamble([text for _, text in lines[:start]], best, csv):
            continue
        return _advised(lines[:start], lines[start][0], texts, best, known, csv, headless=headless)
    return None


def _is_preamble(lines: Sequence[str], separator: str, csv: Csv) -> bool:
    """Whether none of the lines above some rows can be a header: each is one text, or begins with a sign
    as comments do.
    """
    return all(
        len(_fields(line, separator, csv)) == 1 or not re.match(r"[\w\s\"'+.-]", line)
        for line in lines
    )


def _quoted_otherwise(lines: Sequence[str], separator: str, csv: Csv) -> CsvAdvice | None:
    """What to do about fields in single quotes that hold separators."""
    other = csv.model_copy(update={"quote": "'"})
    if csv.quote != '"' or separator == "'" or _common_width(lines, separator, csv):
        return None
    if _common_width(lines, separator, other) < 2:
        return None
    return CsvAdvice(
        "fields in single quotes", f"set {setting('quote', chr(39))}", "data.csv.quote"
    )


def _first_lines(path: Path, csv: Csv) -> list[tuple[int, str]]:
    """The first lines that are not blank, each with the number of lines before it."""
    head = b""
    try:
        for piece in text_pieces(path, csv):
            head += piece
            if len(head.lstrip()) > _BYTES:
                break
    except (DataError, OSError):
        return []
    cut = len(head) - len(head.lstrip()) + _BYTES
    lines = head[:cut].decode(errors="replace").split("\n")
    if len(head) > cut and len(lines) > 1:
        lines = lines[:-1]
    found = [(at, line.rstrip("\r")) for at, line in enumerate(lines) if line.strip()]
    return found[:_LINES]


def _fields(line: str, separator: str, csv: Csv) -> list[str]:
    quote = re.escape(csv.quote)
    plain = re.sub(f"{quote}(?:[^{quote}]|{quote}{quote})*{quote}", "Q", line)
    return plain.split() if separator == " " else plain.split(separator)


def _common_width(lines: Sequence[str], separator: str, csv: Csv) -> int:
    """How many fields the first line has, if nearly all others have as many; else 0."""
    if len(lines) < 2:
        return 0
    widths = [len(_fields(line, separator, csv)) for line in lines]
    alike = sum(width == widths[0] for width in widths[1:])
    return widths[0] if alike >= 0.9 * (len(widths) - 1) else 0


def _looks_like_rows(lines: Sequence[str], separator: str, csv: Csv) -> bool:
    """Whether there is no header among the lines: what is before them is one, of another width."""
    rows = [[field.strip() for field in _fields(line, separator, csv)] for line in lines]
    return looks_like_data(rows[0], rows[1:], csv)


def _unnamed_first(header: list[str], width: int, labels: list[str]) -> CsvAdvice | None:
    """What to do about a header without a name for the first column, the names of the rows, as R
    writes it.
    """
    if len(header) != width - 1 or len(set(labels)) < len(labels):
        return None
    names = ["row", *header]
    number = 1
    while names[0] in header:
        number += 1
        names[0] = f"row_{number}"
    text = flow_text(names)
    found = f"a header with {len(header)} names above lines of {width} fields"
    fix = f"set data.csv.names: {text}"
    fix += f" (on the command line {shlex.quote(f'data.csv.names={text}')})"
    return CsvAdvice(found, fix, "data.csv.names")


def _advised(
    preamble: Sequence[tuple[int, str]],
    skip: int,
    texts: Sequence[str],
    separator: str,
    known: str,
    csv: Csv,
    *,
    headless: bool,
) -> CsvAdvice:
    found, fixes, keys = [], [], []
    if preamble:
        sign = next(
            (
                sign
                for sign in _COMMENT_SIGNS
                if all(line.startswith(sign) for _, line in preamble) and csv.comment is None
            ),
            None,
        )
        first = preamble[0][1][:40]
        count = f"{len(preamble)} line{'s' if len(preamble) > 1 else ''}"
        count += " before rows without a header" if headless else " before the header"
        found.append(f"{count}, '{first}'" + (" first" if len(preamble) > 1 else ""))
        keys.append("comment" if sign else "skip")
        fixes.append(setting("comment", sign) if sign else setting("skip", skip))
    if headless:
        fixes.append(NO_HEADER)
    if separator != known:
        words = {" ": "blanks", "\t": "tabs"}
        found.append(f"fields that seem to be separated by {words.get(separator, repr(separator))}")
        keys.append("separator")
        fixes.append(setting("separator", separator))
    cells = [field.strip() for line in texts[1:] for field in _fields(line, separator, csv)]
    commas = separator != "," and any(map(_COMMA_NUMBER.fullmatch, cells))
    if commas and not csv.decimal_comma:
        fixes.append(setting("decimal_comma", value=True))
    if not commas and csv.decimal_comma and any(map(_POINT_NUMBER.fullmatch, cells)):
        fixes.append(setting("decimal_comma", value=False))
    return CsvAdvice(" and ".join(found), f"set {' and '.join(fixes)}", f"data.csv.{keys[0]}")


def looks_like_data(first: Sequence[str], rows: Sequence[Sequence[str]], csv: Csv) -> bool:
    """Whether the first line, which is taken for the header, looks like the rows below it.

    Numbers above numbers, and words that their column repeats, speak for it; words above numbers, and
    words that a column of few levels does not repeat, against it. Names such as 0, 1, 2 or years are
    names.

    Args:
        first: Its fields, without blanks around them.
        rows: Rows below it; those of another length are passed over.
        csv: What means a missing value.
    """
    rows = [row for row in rows if len(row) == len(first)]
    if len(rows) < 3:
        return False
    missing = {"", *csv.null_values}
    numbers, against, repeated = [], 0, 0
    for index, field in enumerate(first):
        cells = [cell for row in rows if (cell := row[index].strip()) not in missing]
        if not cells or field in missing:
            continue
        numeric = sum(_is_number(cell, csv) for cell in cells)
        if numeric >= 0.8 * len(cells):
            if _is_number(field, csv):
                numbers.append(field)
            else:
                against += 1
        elif field in cells:
            repeated += 1
        elif len(set(cells)) <= 0.5 * len(cells):
            against += 1
    if _are_names(numbers):
        numbers = []
    return len(numbers) + repeated > against


def _is_number(text: str, csv: Csv) -> bool:
    if csv.decimal_comma:
        text = text.replace(".", "").replace(",", ".")
    return _NUMBER.fullmatch(text) is not None


def _are_names(numbers: Sequence[str]) -> bool:
    """Whether numbers are counted up from 0 or 1, or are years."""
    if not all(re.fullmatch(r"\d{1,6}", number) for number in numbers):
        return False
    values = [int(number) for number in numbers]
    counted = values[:1] in ([0], [1]) and all(b == a + 1 for a, b in pairwise(values))
    return counted or all(value in _YEARS for value in values)


def _shown(fields: Sequence[str]) -> str:
    """The fields of a line, for a message."""
    shown = ", ".join(fields)
    return shown if len(shown) <= 50 else f"{shown[:49]}…"


def header_warning(path: Path, first: Sequence[str]) -> str:
    """What to say of a first line that looks like data."""
    return (
        f"{path}: the first line looks like data ({_shown(first)}) but is read as the header, the names "
        f"of the columns; if the file has no header, set {NO_HEADER}"
    )


def looks_like_header(first: Sequence[str], rows: Sequence[Sequence[str]], csv: Csv) -> bool:
    """Whether the first line, which is taken for a row, looks like names: different words, of which some
    stand above numbers.
    """
    rows = [row for row in rows if len(row) == len(first)]
    if len(rows) < 3 or not all(first) or len(set(first)) < len(first):
        return False
    if any(_is_number(field, csv) or field in csv.null_values for field in first):
        return False
    missing = {"", *csv.null_values}
    for index in range(len(first)):
        cells = [cell for row in rows if (cell := row[index].strip()) not in missing]
        if cells and all(_is_number(cell, csv) for cell in cells):
            return True
    return False


def names_warning(path: Path, first: Sequence[str], line: int) -> str:
    """What to say of a first row that looks like the names of the columns."""
    return (
        f"{path}: the first line looks like a header ({_shown(first)}) but is read as a row "
        f"(data.csv.header is false); to skip it, set {setting('skip', line)}"
    )


def point_warning(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], csv: Csv
) -> str | None:
    """What to say of numbers with a decimal point in a file that is read with decimal commas."""
    if not csv.decimal_comma:
        return None
    for index, name in enumerate(names):
        cells = [row[index].strip() for row in rows if len(row) == len(names)]
        odd = next(filter(_POINT_NUMBER.fullmatch, cells), None)
        if odd is not None and not any(map(_COMMA_NUMBER.fullmatch, cells)):
            return (
                f"{path}: '{name}' has numbers with a decimal point, such as '{odd}', but "
                "data.csv.decimal_comma is true, and 1.234 is read as 1234; if the numbers have decimal "
                f"points, set {setting('decimal_comma', value=False)}"
            )
    return None
