"""Read CSV files as text columns, and report malformed files with line numbers.

A clean file is read by polars in one pass. Files that polars rejects or would silently repair (short
lines, blank lines, duplicate names) are read again by Python's reader, which knows line numbers.

Fields are stripped; an empty field is missing. Blank lines are skipped. The line number of a row is
that of its first line.
"""

from __future__ import annotations

import csv as python_csv
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from trainer.config.data import Csv
from trainer.data.column_names import check_names
from trainer.data.csv_advice import (
    NO_HEADER,
    advice,
    header_warning,
    looks_like_data,
    looks_like_header,
    names_warning,
    point_warning,
)
from trainer.data.csv_records import (
    Block,
    CsvSource,
    block_of,
    blocks,
    count_lines,
    explain_error,
    record_lengths,
    record_reader,
    records,
    wrong_length,
)
from trainer.data.csv_text import ESCAPED_LINE_END, unescaped, unescaped_name, whole_text
from trainer.data.values import column_blocks
from trainer.errors import DataError, Problem

_SHOWN = 5
_SAMPLED_ROWS = 200
_SAMPLED_FIELDS = 20_000
# Also with a space or an apostrophe as thousands separator, and with a unit: `number_formats` parses the
# rest of these, in the same way for rows with and without them.
_COMMA_NUMBER = (
    r"^\(?[+-]? ?(?:\p{Sc} ?)?[+-]?"
    r"(?:[1-9]\d{0,2}(?:\.\d{3})+|\d{1,3}(?:[ '’\x{a0}\x{202f}]\d{3})+|\d*)(?:,\d+)?(?:[eE][+-]?\d+)?"
    r"\s?(?:\p{Sc}|[%‰]|[^\W\d_]{1,10})?\)?$"
)


def read_csv(path: Path, csv: Csv) -> tuple[pl.DataFrame, list[str]]:
    """Read all rows as text; missing fields are null.

    Returns:
        The frame, and warnings.

    Raises:
        DataError: If the file is empty, not text, in another encoding, has duplicate names, a line
            with a different number of fields, or an unclosed quote; gives the line.
    """
    source = CsvSource.from_path(path, csv)
    block = block_of(source, whole_text(path, csv), 0, first=True)
    names, notes = _header(source, block)
    frame = _rows(source, block, names)
    del block
    return _cleaned(source, frame), notes


def read_csv_header(path: Path, csv: Csv) -> tuple[list[str], list[str]]:
    """Return the column names of a file, and warnings.

    Raises:
        DataError: See `read_csv`; checks the first block of the file.
    """
    source = CsvSource.from_path(path, csv)
    return _header(source, next(blocks(source)))


def first_line_is_data(path: Path, csv: Csv) -> bool:
    """Return whether the first line, which should be the header, looks like the rows below it.

    Raises:
        DataError: See `read_csv_header`.
    """
    source = CsvSource.from_path(path, csv)
    rows = records(source, next(blocks(source)))
    _, fields = next(rows)
    first = [field.strip() for field in fields]
    return looks_like_data(first, _sample(rows, len(first)), csv)


def read_csv_blocks(path: Path, csv: Csv, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Read some columns as `read_csv` does, one block of the file at a time.

    A block ends at the end of a record. With an unclosed quote it may grow to the whole file.

    Raises:
        DataError: See `read_csv`.
    """
    source = CsvSource.from_path(path, csv)
    names: list[str] = []
    for block in blocks(source):
        if block.is_first:
            names, _ = _header(source, block)
        yield _cleaned(source, _rows(source, block, names, columns).select(columns))


def csv_line(path: Path, csv: Csv, row: int) -> int:
    """Return the line on which data row `row` (from 0) of a file begins; lines count from 1."""
    source = CsvSource.from_path(path, csv)
    seen = -1 if csv.header else 0
    for block in blocks(source):
        if _is_one_line_a_record(source, block.text):
            rows = block.text.count(b"\n") + (not block.text.endswith(b"\n"))
            if seen + rows > row:
                return block.lines_before + row - seen + 1
            seen += rows
            continue
        for line, _ in records(source, block):
            if seen == row:
                return line
            seen += 1
    raise IndexError(row)


def _is_one_line_a_record(source: CsvSource, text: bytes) -> bool:
    if source.csv.quote.encode() in text or ESCAPED_LINE_END.encode() in text:
        return False
    return not (b"\n\n" in text or b"\n\r\n" in text or text[:1] in (b"\n", b"\r"))


def _header(source: CsvSource, block: Block) -> tuple[list[str], list[str]]:
    """Return the column names, and warnings."""
    csv, rows = source.csv, records(source, block)
    try:
        line, fields = next(rows)
    except (UnicodeDecodeError, python_csv.Error) as error:
        raise explain_error(source, block, error) from error
    except StopIteration:
        found = "blank lines" if not csv.skip else f"nothing after {csv.skip} lines (data.csv.skip)"
        raise DataError(Problem(source.where, "a header line and rows", found)) from None
    first = [unescaped_name(field.strip(), csv, source.separator) for field in fields]
    sample = _sample(rows, len(first))
    data_like = csv.header and looks_like_data(first, sample, csv)
    notes = [header_warning(source.path, first)] if data_like else []
    if not csv.header and looks_like_header(first, sample, csv):
        notes.append(names_warning(source.path, first, line))
    points = point_warning(source.path, csv.names or first, sample, csv)
    if points is not None:
        notes.append(points)
    if csv.names is not None:
        _check_names(source, csv.names, sample if csv.header else [first, *sample])
        check_names(source.path, csv.names, is_csv=True)
        return list(csv.names), notes
    if not csv.header:
        return [f"column_{number}" for number in range(1, len(first) + 1)], notes
    names = list(first)
    for index, name in enumerate(names):
        if not name:
            names[index] = f"column_{index + 1}"
            notes.append(
                f"{source.path}: column {index + 1} has no name and is named '{names[index]}'"
            )
    fix = "rename all but one, or set data.csv.names for all columns"
    if data_like:
        fix = f"the first line looks like data: if there is no header, set {NO_HEADER}"
    problems = [
        Problem(f"{source.path}:{line}", "unique column names", f"'{name}' {count} times", fix)
        for name, count in Counter(names).items()
        if count > 1
    ]
    if problems:
        raise DataError(problems)
    check_names(source.path, names, is_csv=True)
    return names, notes


def _sample(rows: Iterator[tuple[int, list[str]]], width: int) -> list[list[str]]:
    """Return a few rows below the header; malformed ones are reported later, when they are read."""
    sample: list[list[str]] = []
    limit = max(5, min(_SAMPLED_ROWS, _SAMPLED_FIELDS // max(1, width)))
    with suppress(UnicodeDecodeError, python_csv.Error):
        sample.extend(fields for _, fields in itertools.islice(rows, limit))
    return sample


def _check_names(source: CsvSource, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = {len(row) for row in rows}
    if len(widths) == 1 and widths != {len(names)}:
        (width,) = widths
        expected = f"{width} names in data.csv.names, one per field"
        fix = "list the names of all columns in order"
        raise DataError(Problem(source.where, expected, f"{len(names)}", fix, "data.csv.names"))


def _rows(
    source: CsvSource, block: Block, names: list[str], columns: Sequence[str] | None = None
) -> pl.DataFrame:
    frame = None
    headed = source.csv.header and block.is_first
    if headed and source.csv.names is not None:
        # The header may have a different number of fields than data.csv.names.
        block, headed = _below_header(source, block), False
    if len(source.separator.encode()) == len(source.csv.quote.encode()) == 1:
        frame = _read_with_polars(source, block.text, names, columns)
    if frame is None:
        return _read_with_python(source, block, names, headed=headed)
    return frame.slice(1) if headed else frame


def _below_header(source: CsvSource, block: Block) -> Block:
    reader = record_reader(source, block.text)
    next(reader)
    end = 0
    for _ in range(reader.line_num):
        end = block.text.find(b"\n", end) + 1 or len(block.text)
    header = block.text[:end]
    return block_of(
        source, block.text[end:], block.lines_before + count_lines(source, header), first=False
    )


def _read_with_polars(
    source: CsvSource, text: bytes, names: list[str], columns: Sequence[str] | None
) -> pl.DataFrame | None:
    """Read with polars all columns, or those given and the last; None if polars cannot read the file."""
    selected = None
    if columns is not None:
        selected = [index for index, name in enumerate(names) if name in {*columns, names[-1]}]
    quote = source.csv.quote
    try:
        frame = pl.read_csv(
            text,
            columns=selected,
            separator=source.separator,
            quote_char=quote,
            infer_schema=False,
            has_header=False,
            schema=dict.fromkeys(names, pl.String),
        )
    except (pl.exceptions.PolarsError, UnicodeError):
        return None
    if frame[names[-1]].null_count():
        blank, malformed = record_lengths(text, source.separator, quote, len(names))
        if malformed:
            return None
        if blank is not None:
            if len(blank) != frame.height:
                return None
            frame = frame.filter(pl.Series(~blank))
    return frame


def _read_with_python(
    source: CsvSource, block: Block, names: list[str], *, headed: bool
) -> pl.DataFrame:
    """Read with Python's reader, which knows line numbers.

    Raises:
        DataError: If the file is malformed.
    """
    rows: list[list[str]] = []
    problems: list[Problem] = []
    malformed = 0
    try:
        for line, fields in itertools.islice(records(source, block), int(headed), None):
            if len(fields) == len(names):
                rows.append(fields)
            else:
                malformed += 1
                if malformed <= _SHOWN:
                    problems.append(wrong_length(source, line, fields, names))
    except (UnicodeDecodeError, python_csv.Error) as error:
        raise explain_error(source, block, error) from error
    if problems:
        better = advice(source.path, source.csv)
        if better is not None:
            raise DataError(better.problem(source.where, source.csv, source.path))
        if malformed > _SHOWN:
            found = f"{malformed - _SHOWN} more lines with a different number of fields"
            problems.append(Problem(source.where, f"{len(names)} fields per line", found))
        raise DataError(problems)
    schema = dict.fromkeys(names, pl.String)
    return pl.DataFrame(rows, schema=schema, orient="row")


def _cleaned(source: CsvSource, frame: pl.DataFrame) -> pl.DataFrame:
    """Strip cells, make missing values null and convert decimal commas, block by block."""
    csv = source.csv
    for names in column_blocks(frame.columns, frame.height):
        cells = pl.col(names).str.strip_chars()
        if csv.escape is not None:
            cells = unescaped(cells, csv, source.separator)
        if csv.decimal_comma:
            is_number = cells.str.contains(_COMMA_NUMBER)
            converted = cells.str.replace_all(".", "", literal=True).str.replace(
                ",", ".", literal=True
            )
            cells = pl.when(is_number).then(converted).otherwise(cells)
        missing = cells.is_in(["", *csv.null_values])
        frame = frame.with_columns(pl.when(~missing).then(cells))
    return frame
