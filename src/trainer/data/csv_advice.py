"""Detect a CSV format that differs from the settings, from the first lines of a file.

The results are used in messages and warnings; they do not change how the file is read.
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
from trainer.data.csv_text import separator_of, text_chunks
from trainer.errors import DataError, Problem, pluralize

_LINES = 200
_BYTES = 1 << 16
_MAX_PREAMBLE = 30
_SEPARATORS = (",", ";", "\t", "|", " ")
_COMMENT_PREFIXES = ("#", "%", "//", "!", "*", "@", "--", ";")
_NAMES = {"\t": "tab"}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?%?")
_COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+")
# Excludes grouped thousands: 1.234 may be 1234.
_POINT_NUMBER = re.compile(r"[+-]?(?:0?\.\d+|\d+\.\d{1,2}|\d+\.\d{4,}|\d{4,}\.\d+)")
_YEARS = range(1900, 2101)


def setting(name: str, value: str | int | bool) -> str:
    """Return a CSV setting in config and command-line syntax, ready to paste."""
    match value:
        case bool():
            text = str(value).lower()
        case int():
            text = str(value)
        case str():
            text = _NAMES.get(value, f'"{value}"' if "'" in value else f"'{value}'")
    return f"data.csv.{name}: {text} (on the command line data.csv.{name}={text})"


NO_HEADER = setting("header", value=False)


@dataclass(frozen=True, slots=True)
class CsvAdvice:
    """A detected CSV format.

    Attributes:
        found: What was detected.
        fix: The settings that read the file.
        key: The first of them.
    """

    found: str
    fix: str
    key: str

    def problem(self, where: str, csv: Csv, path: Path) -> Problem:
        """Return the problem with the settings, or with the file."""
        separator = separator_of(path, csv)
        shown = _NAMES.get(separator, f"'{separator}'")
        expected = f"lines of fields separated by {shown} (data.csv.separator)"
        if csv.header:
            expected += ", the header first"
        return Problem(where, expected, self.found, self.fix, self.key)


def advice(path: Path, csv: Csv) -> CsvAdvice | None:
    """Return settings that would read a file, or None if the current ones seem to."""
    lines = _first_lines(path, csv)
    if not lines:
        return None
    known = separator_of(path, csv)
    order = dict.fromkeys((known, *_SEPARATORS))
    better = _single_quote_advice([text for _, text in lines], known, csv)
    if better is not None:
        return better
    for start in range(min(_MAX_PREAMBLE, len(lines) - 1) + 1):
        texts = [text for _, text in lines[start:]]
        widths = {separator: _common_width(texts, separator, csv) for separator in order}
        separators = [separator for separator in order if widths[separator] > 1]
        if len(separators) > 1 and known != " ":
            # With another separator, spaces are part of the text.
            separators = [separator for separator in separators if separator != " "]
        if not separators:
            continue
        best = (
            known
            if known in separators
            else max(separators, key=lambda separator: widths[separator])
        )
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
    """Return whether none of these lines can be a header: each is one field, or looks like a comment."""
    return all(
        len(_fields(line, separator, csv)) == 1 or not re.match(r"[\w\s\"'+.-]", line)
        for line in lines
    )


def _single_quote_advice(lines: Sequence[str], separator: str, csv: Csv) -> CsvAdvice | None:
    """Return advice about single-quoted fields that contain separators."""
    single_quoted = csv.model_copy(update={"quote": "'"})
    if csv.quote != '"' or separator == "'" or _common_width(lines, separator, csv):
        return None
    if _common_width(lines, separator, single_quoted) < 2:
        return None
    return CsvAdvice(
        "fields in single quotes", f"set {setting('quote', chr(39))}", "data.csv.quote"
    )


def _first_lines(path: Path, csv: Csv) -> list[tuple[int, str]]:
    """Return the first non-blank lines, each with the number of lines before it."""
    head = b""
    try:
        for chunk in text_chunks(path, csv):
            head += chunk
            if len(head.lstrip()) > _BYTES:
                break
    except (DataError, OSError):
        return []
    cut = len(head) - len(head.lstrip()) + _BYTES
    lines = head[:cut].decode(errors="replace").split("\n")
    if len(head) > cut and len(lines) > 1:
        lines = lines[:-1]
    numbered = [(index, line.rstrip("\r")) for index, line in enumerate(lines) if line.strip()]
    return numbered[:_LINES]


def _fields(line: str, separator: str, csv: Csv) -> list[str]:
    quote = re.escape(csv.quote)
    plain = re.sub(f"{quote}(?:[^{quote}]|{quote}{quote})*{quote}", "Q", line)
    return plain.split() if separator == " " else plain.split(separator)


def _common_width(lines: Sequence[str], separator: str, csv: Csv) -> int:
    """Return the number of fields of the first line if nearly all lines have as many, otherwise 0."""
    if len(lines) < 2:
        return 0
    widths = [len(_fields(line, separator, csv)) for line in lines]
    alike = sum(width == widths[0] for width in widths[1:])
    return widths[0] if alike >= 0.9 * (len(widths) - 1) else 0


def _looks_like_rows(lines: Sequence[str], separator: str, csv: Csv) -> bool:
    """Return whether the first line is not a header but looks like the others."""
    rows = [[field.strip() for field in _fields(line, separator, csv)] for line in lines]
    return looks_like_data(rows[0], rows[1:], csv)


def _unnamed_first(header: list[str], width: int, labels: list[str]) -> CsvAdvice | None:
    """Return advice about a header without a name for the first column, as R writes for row names."""
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
        prefix = next(
            (
                prefix
                for prefix in _COMMENT_PREFIXES
                if all(line.startswith(prefix) for _, line in preamble) and csv.comment is None
            ),
            None,
        )
        first = preamble[0][1][:40]
        count = pluralize(len(preamble), "line")
        count += " before rows without a header" if headless else " before the header"
        found.append(f"{count}, '{first}'" + (" first" if len(preamble) > 1 else ""))
        keys.append("comment" if prefix else "skip")
        fixes.append(setting("comment", prefix) if prefix else setting("skip", skip))
    if headless:
        fixes.append(NO_HEADER)
    if separator != known:
        separators = {" ": "spaces", "\t": "tabs"}
        name = separators.get(separator, repr(separator))
        found.append(f"fields that seem to be separated by {name}")
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
    """Return whether the first line, which is read as the header, looks like the rows below it.

    Numbers above numbers, and text that recurs in its column, count for it; text above numbers, and
    text that does not recur in a column with few levels, count against it. Sequences such as 0, 1, 2
    and years count as names.

    Args:
        first: The fields of the first line, stripped.
        rows: Rows below it; those with a different number of fields are ignored.
        csv: The CSV settings, for missing values.
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
    """Return whether the numbers count up from 0 or 1, or are years."""
    if not all(re.fullmatch(r"\d{1,6}", number) for number in numbers):
        return False
    values = [int(number) for number in numbers]
    counted = values[:1] in ([0], [1]) and all(b == a + 1 for a, b in pairwise(values))
    return counted or all(value in _YEARS for value in values)


def _shown(fields: Sequence[str]) -> str:
    """Return the fields of a line, for a message."""
    shown = ", ".join(fields)
    return shown if len(shown) <= 50 else f"{shown[:49]}…"


def header_warning(path: Path, first: Sequence[str]) -> str:
    """Return the warning about a first line that looks like data."""
    return (
        f"{path}: the first line looks like data ({_shown(first)}) but is read as the header; "
        f"if the file has no header, set {NO_HEADER}"
    )


def looks_like_header(first: Sequence[str], rows: Sequence[Sequence[str]], csv: Csv) -> bool:
    """Return whether the first line, which is read as a row, looks like distinct column names."""
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
    """Return the warning about a first row that looks like column names."""
    return (
        f"{path}: the first line looks like a header ({_shown(first)}) but is read as a row "
        f"(data.csv.header is false); to skip it, set {setting('skip', line)}"
    )


def point_warning(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], csv: Csv
) -> str | None:
    """Return the warning about decimal points in a file that is read with decimal commas, or None."""
    if not csv.decimal_comma:
        return None
    for index, name in enumerate(names):
        cells = [row[index].strip() for row in rows if len(row) == len(names)]
        example = next(filter(_POINT_NUMBER.fullmatch, cells), None)
        if example is not None and not any(map(_COMMA_NUMBER.fullmatch, cells)):
            return (
                f"{path}: '{name}' has numbers with a decimal point, such as '{example}', but "
                "data.csv.decimal_comma is true, and 1.234 is read as 1234; if the numbers have decimal "
                f"points, set {setting('decimal_comma', value=False)}"
            )
    return None
