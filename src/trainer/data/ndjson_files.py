"""Read NDJSON files, one JSON object per line, as text columns.

Like CSV, every value is read as text, as lines need not have the same types. A column with a list or an
object has the type `NESTED`, a list that contains the JSON of each value; it is only an error to use
such a column.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from trainer.data.column_names import check_names
from trainer.data.compression import read_lines
from trainer.data.spellings import without_surrogates
from trainer.errors import DataError, Problem

NESTED = pl.List(pl.String)

_LINES = 50_000
_SHOWN = 5


def read_ndjson(path: Path) -> pl.DataFrame:
    """Read all rows; null and absent values are null.

    Raises:
        DataError: If a line is not a JSON object; gives the line.
    """
    frames = list(read_ndjson_blocks(path))
    schema = ndjson_schema(frames)
    return pl.concat([conform_to_schema(frame, schema) for frame in frames], rechunk=True)


def read_ndjson_blocks(path: Path) -> Iterator[pl.DataFrame]:
    """Read the rows as `read_ndjson` does, in blocks.

    A frame has the names that occurred so far, with the type `NESTED` if they were nested so far.

    Raises:
        DataError: See `read_ndjson`.
    """
    problems: list[Problem] = []
    names: dict[str, pl.DataType] = {}
    rows: list[dict[str, str | None]] = []
    nested: set[str] = set()
    for line, raw in _filled_lines(path):
        try:
            row = _object(raw, nested)
        except _NotARowError as error:
            problems.append(Problem(f"{path}:{line}", "a JSON object", str(error)))
            if len(problems) == _SHOWN:
                break
            continue
        if not row.keys() <= names.keys():
            check_names(path, row)
            names |= dict.fromkeys(row, pl.String())
        rows.append(row)
        if len(rows) == _LINES:
            yield _frame(rows, names, nested)
            rows = []
    if problems:
        raise DataError(problems)
    if rows:
        yield _frame(rows, names, nested)
    if not names and not rows:
        raise DataError(Problem(str(path), "one JSON object per line", "an empty file"))


def ndjson_schema(frames: Iterable[pl.DataFrame]) -> dict[str, pl.DataType]:
    """Return the columns of all blocks of a file; nested if nested in any block."""
    schema: dict[str, pl.DataType] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            if schema.get(name) != NESTED:
                schema[name] = dtype
    return schema


def conform_to_schema(frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return a block with the columns and types of the whole file."""
    columns = []
    known = frame.schema
    for name, dtype in schema.items():
        if name not in known:
            columns.append(pl.lit(None, dtype=dtype).alias(name))
        elif known[name] == dtype:
            columns.append(pl.col(name))
        else:
            columns.append(as_nested(name))
    return frame.select(columns)


def _frame(
    rows: list[dict[str, str | None]], names: dict[str, pl.DataType], nested: set[str]
) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=names)
    return frame.with_columns(as_nested(name) for name in names if name in nested)


def as_nested(name: str) -> pl.Expr:
    """Return a text column converted to the type `NESTED`."""
    column = pl.col(name)
    return pl.when(column.is_not_null()).then(pl.concat_list(column)).alias(name)


def ndjson_line(path: Path, row: int) -> int:
    """Return the line of row `row` (from 0) of a file."""
    for index, (line, _) in enumerate(_filled_lines(path)):
        if index == row:
            return line
    raise IndexError(row)


def _filled_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers."""
    for line, raw in enumerate(read_lines(path), start=1):
        content = raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw
        if content.strip():
            yield line, content


class _NotARowError(Exception):
    """The line is not a row."""


def _object(raw: bytes, nested: set[str]) -> dict[str, str | None]:
    """Parse a row; names whose value is a list or an object are added to `nested`."""
    try:
        row = json.loads(raw, parse_int=str, parse_float=str, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise _NotARowError("text that is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise _NotARowError(f"{raw[:40].decode(errors='replace').strip()!r}") from error
    if not isinstance(row, dict):
        raise _NotARowError("a list" if isinstance(row, list) else f"the value {row!r}")
    parsed: dict[str, Any] | None = None
    for name, value in row.items():
        match value:
            case bool():
                row[name] = "true" if value else "false"
            case str():
                row[name] = value.strip() or None
            case None:
                pass
            case _:
                nested.add(name)
                if parsed is None:  # with its numbers as numbers
                    parsed = _with_numbers(raw)
                row[name] = json.dumps(parsed[name], ensure_ascii=False)
    if b"\\u" not in raw:
        return row
    return {
        without_surrogates(name): None if text is None else without_surrogates(text)
        for name, text in row.items()
    }


def _with_numbers(raw: bytes) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(raw)
    except ValueError as error:  # Python limits the digits of integers.
        raise _NotARowError("a number with thousands of digits in a list or an object") from error
    return row


def _constant(word: str) -> str | None:
    return None if word == "NaN" else word
