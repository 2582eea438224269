"""Parse a row into plain values, before any fitted transform.

    numeric      a number                    categorical  the text of the level
    boolean      true or false               datetime     ISO 8601, UTC

A cell that is empty, or cannot be parsed as its column's kind, is None.
"""

from __future__ import annotations

import math
from typing import assert_never

import numpy as np
import polars as pl

from trainer.data.categorical import BooleanColumn, CategoricalColumn
from trainer.data.datetimes import DatetimeColumn
from trainer.data.numeric import NumericColumn
from trainer.data.preprocessing import Column, Preprocessing
from trainer.data.values import level_text, number_matrix, parse_booleans, to_microseconds

RawValue = str | float | bool | None


def raw_row(preprocessing: Preprocessing, row: pl.DataFrame) -> dict[str, RawValue]:
    """Return the parsed feature columns of a table with one row."""
    row = preprocessing.parse_number_columns(row)
    return {column.name: _value(column, row) for column in preprocessing.columns}


def _value(column: Column, row: pl.DataFrame) -> RawValue:
    cell = row[column.name]
    match column:
        case NumericColumn():
            return _number(float(number_matrix(row, [column.name])[0, 0]))
        case CategoricalColumn():
            level = level_text(cell)[0]
            return None if level is None else str(level)
        case BooleanColumn():
            known = parse_booleans(cell, accept_marks=True)[0]
            return None if known is None else bool(known)
        case DatetimeColumn():
            stamp = to_microseconds(cell, column.format)[0]
            return None if stamp is None else _moment(int(stamp))
        case _:
            assert_never(column)


def _number(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _moment(stamp: int) -> str:
    """Return microseconds since 1970 as ISO 8601, midnight as a date only."""
    moment: str = np.datetime64(stamp, "us").item().isoformat()
    return moment.removesuffix("T00:00:00")
