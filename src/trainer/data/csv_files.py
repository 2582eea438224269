"""CSV: bytes → a frame of text, and every way a CSV file can be broken → the line where it is.

A clean file is read by polars in one go. What polars refuses, or would mend in silence (lines that
are too short, blank lines, doubled names), is looked at again here, with line numbers.

Blanks around a field are taken off; an empty field is missing. Blank lines are no rows. A line
number is that of the line the row begins on.
"""

from __future__ import annotations

import codecs
import csv as python_csv
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trainer.config.data import Csv
from trainer.data.arrays import Bools
from trainer.data.sources import inner_suffix
from trainer.data.values import column_blocks
from trainer.errors import DataError, Problem

_CHUNK = 1 << 23
_BLOCK = 1 << 24
_SHOWN = 5
_MAGIC = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF",
}
_COMMA_NUMBER = r"^[+-]?(?:\d{1,3}(?:\.\d{3})+|\d*)(?:,\d+)?(?:[eE][+-]?\d+)?$"


def read_csv(path: Path, csv: Csv) -> tuple[pl.DataFrame, list[str]]:
    """All rows as text; null where a field means missing.

    Returns:
        The frame, and warnings.

    Raises:
        DataError: Empty, not text, wrong encoding, doubled names, a line of another length, a quote
            that is not closed; each with its line.
    """
    data = _utf8(path, csv)
    separator = separator_of(path, csv)
    names, notes = _header(path, data, csv, separator)
    frame = _rows(path, data, csv, separator, names)
    del data
    return _cleaned(frame, csv), notes


def read_csv_header(path: Path, csv: Csv) -> tuple[list[str], list[str]]:
    """The column names of a file, and warnings.

    Raises:
        DataError: As `read_csv`, for the file's first block.
    """
    _, data = next(_blocks(path, csv))
    return _header(path, data, csv, separator_of(path, csv))


def read_csv_blocks(path: Path, csv: Csv, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The rows as `read_csv` reads them, some columns only, a block of the file at a time.

    A block ends where a record does. Where quotes do not close it may have to grow up to the whole
    file.

    Raises:
        DataError: As `read_csv`.
    """
    separator = separator_of(path, csv)
    names: list[str] = []
    # Every block begins with a record that is no row; the later ones are given one.
    first = b""
    for lines, data in _blocks(path, csv):
        if not names:
            names, _ = _header(path, data, csv, separator)
            first = separator.join("x" * len(names)).encode() + b"\n"
            frame = _rows(path, data, csv, separator, names, columns)
        else:
            try:
                frame = _rows(path, first + data, csv, separator, names, columns)
            except DataError as error:
                raise DataError(_moved(path, error.problems, lines - 1)) from error
        yield _cleaned(frame.select(columns), csv)


def _moved(path: Path, problems: Sequence[Problem], lines: int) -> Iterator[Problem]:
    """Problems of a block, at their lines in the file."""
    for problem in problems:
        line = problem.where.removeprefix(f"{path}:")
        yield problem.at(f"{path}:{int(line) + lines}") if line.isdigit() else problem


def csv_line(path: Path, csv: Csv, row: int) -> int:
    """The line that data row `row` (from 0) of a file begins on; the header is on line 1."""
    separator = separator_of(path, csv)
    seen = -1
    for before, data in _blocks(path, csv):
        if csv.quote.encode() not in data and not _has_blank_lines(data):
            rows = data.count(b"\n") + (not data.endswith(b"\n"))
            if seen + rows > row:
                return before + row - seen + 1
            seen += rows
            continue
        for line, _ in _lines(_reader(data, csv, separator)):
            if seen == row:
                return before + line
            seen += 1
    raise IndexError(row)


def _blocks(path: Path, csv: Csv) -> Iterator[tuple[int, bytes]]:
    """The file's text as `_utf8` gives it in blocks that end where records do, each with the number of
    lines before it.
    """
    lines, rest, mac = 0, b"", False
    for data in _chunks(path, csv):
        if not lines and not rest:
            _check_start(str(path), data)
            mac = b"\n" not in data and b"\r" in data
        if mac:
            data = data.replace(b"\r", b"\n")  # noqa: PLW2901
        rest += data
        if len(rest) < _BLOCK:
            continue
        end = _last_end(rest, csv.quote)
        if end:
            block, rest = rest[:end], rest[end:]
            yield lines, _checked(path, block, lines)
            lines += block.count(b"\n")
    if not lines and not rest:
        _check_start(str(path), b"")
    if rest:
        yield lines, _checked(path, rest, lines)


def _last_end(data: bytes, quote: str) -> int:
    """Where the last record of the data that ends in it does; 0 where none does."""
    if data.count(quote.encode()) == 0:
        return data.rfind(b"\n") + 1
    cells = np.frombuffer(data, dtype=np.uint8)
    sign = np.frombuffer(quote.encode()[-1:], dtype=np.uint8)[0]
    outside = (np.cumsum(cells == sign, dtype=np.uint8) & 1) == 0
    ends = np.flatnonzero((cells == 10) & outside)
    return int(ends[-1]) + 1 if len(ends) else 0


def _chunks(path: Path, csv: Csv) -> Iterator[bytes]:
    """The file's text as UTF-8, unpacked, without a byte order mark, in pieces of any length."""
    where = str(path)
    decoder = codecs.getincrementaldecoder(csv.encoding)() if csv.encoding != "utf-8" else None
    first = True
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            while data := file.read(_CHUNK):
                if first and decoder is None:
                    _check_unmarked(where, data)
                    data = data.removeprefix(b"\xef\xbb\xbf")
                if decoder is not None:
                    data = decoder.decode(data).removeprefix("\ufeff" * first).encode()
                first = False
                yield data
            if decoder is not None:
                decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise _wrong_encoding(where, csv, error) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged_gzip(where, error) from error


def _rows(
    path: Path,
    data: bytes,
    csv: Csv,
    separator: str,
    names: list[str],
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    frame = None
    if len(separator.encode()) == len(csv.quote.encode()) == 1:
        frame = _read_at_once(path, data, csv, separator, names, columns)
    return _read_slowly(path, data, csv, separator, names) if frame is None else frame


def _has_blank_lines(data: bytes) -> bool:
    return b"\n\n" in data or b"\n\r\n" in data or data[:1] in (b"\n", b"\r")


def _lines(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Each record that is no blank line, with the line it begins on."""
    before = 0
    for fields in reader:
        start, before = before + 1, reader.line_num
        if fields:
            yield start, fields


def separator_of(path: Path, csv: Csv) -> str:
    """The character between the fields of a file."""
    tabbed = inner_suffix(path) in (".tsv", ".tab")
    return "\t" if tabbed and csv.separator == "," else csv.separator


def _reader(data: bytes, csv: Csv, separator: str) -> Any:
    stream = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
    return python_csv.reader(stream, delimiter=separator, quotechar=csv.quote, strict=True)


def _utf8(path: Path, csv: Csv) -> bytes:
    """The file's text as UTF-8, unpacked, without a byte order mark."""
    where = str(path)
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged_gzip(where, error) from error
    _check_start(where, data)
    if csv.encoding == "utf-8":
        _check_unmarked(where, data)
        data = data.removeprefix(b"\xef\xbb\xbf")
    else:
        try:
            data = data.decode(csv.encoding).removeprefix("\ufeff").encode()
        except UnicodeError as error:
            raise _wrong_encoding(where, csv, error) from error
    if b"\n" not in data and b"\r" in data:
        data = data.replace(b"\r", b"\n")
    return _checked(path, data, 0)


def _check_start(where: str, data: bytes) -> None:
    if not data or data.isspace():
        raise DataError(Problem(where, "a header line and rows", "an empty file"))
    for magic, meaning in _MAGIC.items():
        if data.startswith(magic):
            fix = "name it by its format, set data.format, or save it as CSV"
            raise DataError(Problem(where, "a CSV file", meaning, fix))


def _check_unmarked(where: str, data: bytes) -> None:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        found, fix = "UTF-16 text", "set data.csv.encoding to utf-16"
        raise DataError(Problem(where, "UTF-8 text", found, fix, "data.csv.encoding"))


def _checked(path: Path, data: bytes, lines: int) -> bytes:
    """The data, which hold no zero byte; `lines` lines of the file are before them."""
    if b"\0" in data:
        line = lines + data.count(b"\n", 0, data.index(b"\0")) + 1
        fix = "is it a CSV file? If it is UTF-16, set data.csv.encoding"
        raise DataError(Problem(f"{path}:{line}", "text", "binary data (a zero byte)", fix))
    return data


def _wrong_encoding(where: str, csv: Csv, error: UnicodeError) -> DataError:
    found, fix = f"other bytes ({error})", "set data.csv.encoding to what the file is in"
    return DataError(Problem(where, f"{csv.encoding} text", found, fix, "data.csv.encoding"))


def _damaged_gzip(where: str, error: Exception) -> DataError:
    found = f"a damaged one ({error})"
    return DataError(Problem(where, "a whole gzip file", found, "Copy it again."))


def _header(path: Path, data: bytes, csv: Csv, separator: str) -> tuple[list[str], list[str]]:
    try:
        line, fields = next(_lines(_reader(data, csv, separator)))
    except (UnicodeDecodeError, python_csv.Error) as error:
        raise _explained(path, data, csv, separator, error) from error
    except StopIteration:
        raise DataError(Problem(str(path), "a header line and rows", "blank lines")) from None
    names = [field.strip() for field in fields]
    notes = []
    for index, name in enumerate(names):
        if not name:
            names[index] = f"column_{index + 1}"
            notes.append(f"{path}: column {index + 1} has no name and is called '{names[index]}'")
    doubled = {name: names.count(name) for name in names} if len(set(names)) < len(names) else {}
    problems = [
        Problem(f"{path}:{line}", "column names that differ", f"'{name}' {count} times",
                "rename all but one")
        for name, count in doubled.items()
        if count > 1
    ]  # fmt: skip
    if problems:
        raise DataError(problems)
    return names, notes


def _read_at_once(
    path: Path,
    data: bytes,
    csv: Csv,
    separator: str,
    names: list[str],
    columns: Sequence[str] | None,
) -> pl.DataFrame | None:
    """The rows by polars, all columns or those given and the last; None when it does not understand
    the file.
    """
    wanted = None
    if columns is not None:
        wanted = [index for index, name in enumerate(names) if name in {*columns, names[-1]}]
    try:
        frame = pl.read_csv(
            data,
            columns=wanted,
            separator=separator,
            quote_char=csv.quote,
            infer_schema=False,
            has_header=False,
            schema=dict.fromkeys(names, pl.String),
        )
    except (pl.exceptions.PolarsError, UnicodeError):
        return None
    if frame[names[-1]].null_count():
        blank, wrong = _lengths(data, separator, csv.quote, len(names))
        if wrong:
            return None
        if blank is not None:
            if len(blank) != frame.height:
                return None
            frame = frame.filter(pl.Series(~blank))
    return frame.slice(1)


def _lengths(data: bytes, separator: str, quote: str, width: int) -> tuple[Bools | None, bool]:
    """Which records are blank lines (None when none is), and whether another has a wrong length."""
    cells = np.frombuffer(data, dtype=np.uint8)
    inside, fields, length = 0, 0, 0
    blanks: list[Bools] = []
    for start in range(0, len(cells), _CHUNK):
        chunk = cells[start : start + _CHUNK]
        quoted = (np.cumsum(chunk == ord(quote), dtype=np.uint8) + np.uint8(inside)) & 1
        outside = quoted == 0
        ends = np.flatnonzero((chunk == 10) & outside)
        cuts = np.flatnonzero((chunk == ord(separator)) & outside)
        inside = int(quoted[-1])
        before = np.searchsorted(cuts, ends)
        counts = np.diff(before, prepend=0)
        starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
        sizes = ends - starts
        if len(ends):
            returns = (sizes > 0) & (chunk[np.maximum(ends - 1, 0)] == 13)
            sizes = sizes - returns
            counts[0] += fields
            sizes[0] += length
            blank = sizes == 0
            if np.any((counts != width - 1) & ~blank):
                return None, True
            blanks.append(blank)
            fields, length = len(cuts) - int(before[-1]), len(chunk) - int(ends[-1]) - 1
        else:
            fields, length = fields + len(cuts), length + len(chunk)
    if length:
        if fields != width - 1:
            return None, True
        blanks.append(np.zeros(1, dtype=np.bool_))
    found = np.concatenate(blanks)
    return (found if found.any() else None), False


def _read_slowly(
    path: Path, data: bytes, csv: Csv, separator: str, names: list[str]
) -> pl.DataFrame:
    """The rows by Python's reader, which knows lines; raises for what is truly broken."""
    records: list[list[str]] = []
    problems: list[Problem] = []
    wrong = 0
    try:
        for line, fields in itertools.islice(_lines(_reader(data, csv, separator)), 1, None):
            if len(fields) == len(names):
                records.append(fields)
            else:
                wrong += 1
                if wrong <= _SHOWN:
                    problems.append(_wrong_length(path, line, fields, names, csv))
    except (UnicodeDecodeError, python_csv.Error) as error:
        raise _explained(path, data, csv, separator, error) from error
    if problems:
        if wrong > _SHOWN:
            found = f"{wrong - _SHOWN} more lines of another length"
            problems.append(Problem(str(path), f"{len(names)} fields a line", found))
        raise DataError(problems)
    schema = dict.fromkeys(names, pl.String)
    return pl.DataFrame(records, schema=schema, orient="row")


def _wrong_length(path: Path, line: int, fields: list[str], names: list[str], csv: Csv) -> Problem:
    found = f"{len(fields)} field{'s' if len(fields) != 1 else ''}"
    fix = f"put a field that holds {csv.separator!r} between quotes ({csv.quote})"
    if len(fields) < len(names):
        fix = "Complete or delete the line."
    return Problem(f"{path}:{line}", f"{len(names)} fields, as in the header", found, fix)


def _explained(
    path: Path, data: bytes, csv: Csv, separator: str, error: UnicodeDecodeError | python_csv.Error
) -> DataError:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        column = wrong.start - (data.rfind(b"\n", 0, wrong.start) + 1) + 1
        return DataError(
            Problem(
                f"{path}:{line}",
                "UTF-8 text",
                f"byte 0x{data[wrong.start]:02X} at byte {column} of the line",
                "set data.csv.encoding, for instance to windows-1252 or latin-1",
                "data.csv.encoding",
            )
        )
    last = 0
    try:
        reader = _reader(data, csv, separator)
        for _ in reader:
            last = reader.line_num
    except python_csv.Error:
        pass
    if "end of data" in str(error):
        found = f"a quote ({csv.quote}) that is not closed"
        fix = "Close it, or set data.csv.quote to a character the file does not hold."
        return DataError(Problem(f"{path}:{last + 1}", "a whole record", found, fix))
    found = f"text after a closing quote ({csv.quote})" if "after" in str(error) else str(error)
    fix = "Double a quote inside a quoted field, or set data.csv.quote."
    return DataError(Problem(f"{path}:{last + 1}", "a CSV record", found, fix))


def _cleaned(frame: pl.DataFrame, csv: Csv) -> pl.DataFrame:
    """Blanks taken off, missing values null, decimal commas turned; block by block."""
    for names in column_blocks(frame.columns, frame.height):
        cells = pl.col(names).str.strip_chars()
        if csv.decimal_comma:
            decimal = cells.str.contains(_COMMA_NUMBER)
            turned = cells.str.replace_all(".", "", literal=True).str.replace(
                ",", ".", literal=True
            )
            cells = pl.when(decimal).then(turned).otherwise(cells)
        missing = cells.is_in(["", *csv.null_values])
        frame = frame.with_columns(pl.when(~missing).then(cells))
    return frame


def likely_separator(names: Sequence[str]) -> str | None:
    """The separator a table was probably written with, when it was read as one single column."""
    if len(names) != 1:
        return None
    counts = {sign: names[0].count(sign) for sign in (";", "\t", "|", ",")}
    best = max(counts, key=lambda sign: counts[sign])
    return best if counts[best] else None
