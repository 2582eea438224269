"""Parse a row into plain values, before any fitted transform; choose the example of the report.

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
from trainer.data.dataset import Dataset
from trainer.data.datetimes import DatetimeColumn
from trainer.data.images import ImageColumn
from trainer.data.numeric import NumericColumn
from trainer.data.preprocessing import Column, Preprocessing
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.data.text_columns import TextColumn
from trainer.data.token_columns import TokenColumn
from trainer.data.values import (
    level_text,
    number_matrix,
    parse_booleans,
    to_microseconds,
    to_text,
)
from trainer.runs.example import ExampleRow

RawValue = str | float | bool | None


def raw_row(preprocessing: Preprocessing, row: pl.DataFrame) -> dict[str, RawValue]:
    """Return the parsed feature columns of a table with one row."""
    row = preprocessing.parse_number_columns(row)
    names = [column.name for column in preprocessing.columns if isinstance(column, NumericColumn)]
    # All at once: with hundreds of columns, one call for each would take seconds.
    numbers = dict(zip(names, number_matrix(row, names)[0], strict=True)) if names else {}
    return {
        column.name: _number(float(numbers[column.name]))
        if column.name in numbers
        else _value(column, row[column.name])
        for column in preprocessing.columns
    }


def example_row(dataset: Dataset) -> ExampleRow:
    """Return a validation row, or a training row if there are none.

    It is the first row without missing values in the first batch with rows of the split, else the
    first.
    """
    split: SplitName = "validation" if dataset.rows("validation") else "train"
    names = [column.name for column in dataset.preprocessing.columns]
    for start, frame in dataset.source.batches(names):
        assignment = dataset.assignment[start : start + frame.height]
        rows = np.flatnonzero(assignment == SPLIT_NAMES.index(split))
        if len(rows):
            known = ~frame[rows].select(pl.any_horizontal(pl.all().is_null())).to_series()
            index = int(rows[np.argmax(known.to_numpy())])
            values = raw_row(dataset.preprocessing, frame[index : index + 1])
            return ExampleRow(split, start + index, values)
    raise AssertionError(f"no {split} rows")


def _value(column: Column, cell: pl.Series) -> RawValue:
    """Return a cell of a column that is not numeric."""
    match column:
        case NumericColumn():
            raise AssertionError("numbers are parsed together")
        case CategoricalColumn():
            level = level_text(cell)[0]
            return None if level is None else str(level)
        case BooleanColumn():
            known = parse_booleans(cell, accept_marks=True)[0]
            return None if known is None else bool(known)
        case DatetimeColumn():
            stamp = to_microseconds(cell, column.format)[0]
            return None if stamp is None else _moment(int(stamp))
        case ImageColumn() | TextColumn() | TokenColumn():
            text = to_text(cell)[0]
            return None if text is None else str(text)
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
