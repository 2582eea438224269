"""NDJSON, one JSON object a line → a frame of text.

It is read like CSV, every value as text, because its lines need not agree on types. A column in which
a value is a list or an object has the type `NESTED`, a list with the JSON of each value in it: whoever
uses the column refuses it, whoever does not is not disturbed by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from trainer.data.column_names import check_names
from trainer.data.compression import read_lines
from trainer.errors import DataError, Problem

NESTED = pl.List(pl.String)

_LINES = 50_000
_SHOWN = 5


def read_ndjson(path: Path) -> pl.DataFrame:
    """All rows; null where a value is null or absent.

    Raises:
        DataError: A line is no JSON object; with its line.
    """
    frames = list(read_ndjson_blocks(path))
    schema = ndjson_schema(frames)
    return pl.concat([conform_to_schema(frame, schema) for frame in frames], rechunk=True)


def read_ndjson_blocks(path: Path) -> Iterator[pl.DataFrame]:
    """The rows as `read_ndjson` reads them, some at a time.

    A frame has the names seen so far, and the type `NESTED` for those that were nested so far.

    Raises:
        DataError: As `read_ndjson`.
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
        raise DataError(Problem(str(path), "one JSON object a line", "an empty file"))


def ndjson_schema(frames: Iterable[pl.DataFrame]) -> dict[str, pl.DataType]:
    """The columns of all blocks of a file; nested those that are so in one of them."""
    schema: dict[str, pl.DataType] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            if schema.get(name) != NESTED:
                schema[name] = dtype
    return schema


def conform_to_schema(frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """A block with the columns and types that all of its file share."""
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
    """A column of text as one of the type `NESTED`."""
    column = pl.col(name)
    return pl.when(column.is_not_null()).then(pl.concat_list(column)).alias(name)


def ndjson_line(path: Path, row: int) -> int:
    """The line of row `row` (from 0) of a file."""
    for index, (line, _) in enumerate(_filled_lines(path)):
        if index == row:
            return line
    raise IndexError(row)


def _filled_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers."""
    for line, raw in enumerate(read_lines(path), start=1):
        content = raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw
        if content.strip():
            yield line, content


class _NotARowError(Exception):
    """The content of a line that is no row."""


def _object(raw: bytes, nested: set[str]) -> dict[str, str | None]:
    """A row; names whose value is a list or an object are added to `nested`."""
    try:
        row = json.loads(raw, parse_int=str, parse_float=str, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise _NotARowError("text that is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise _NotARowError(f"{raw[:40].decode(errors='replace').strip()!r}") from error
    if not isinstance(row, dict):
        raise _NotARowError("a list" if isinstance(row, list) else f"the value {row!r}")
    whole: dict[str, Any] | None = None
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
                if whole is None:  # with its numbers as numbers
                    whole = _with_numbers(raw)
                row[name] = json.dumps(whole[name], ensure_ascii=False)
    return row


def _with_numbers(raw: bytes) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(raw)
    except ValueError as error:  # Python limits the digits of whole numbers.
        raise _NotARowError("a number with thousands of digits in a list or an object") from error
    return row


def _constant(word: str) -> str | None:
    return None if word == "NaN" else word
