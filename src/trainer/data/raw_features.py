"""Features for models that need no encoding, such as trees: raw numbers, and codes of categories.

    numeric      the number; values beyond `data.clean.outliers` are clipped, as for the network
    boolean      0 or 1
    categorical  the code of the level, each rare level separately
    datetime     days since the first training date, positions in the year, the week and the day

Images and texts have none. A cell that is empty, cannot be parsed, or has a level that does not occur
in training is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

import numpy as np
import polars as pl

from trainer.data.arrays import BoolArray, Float64Array
from trainer.data.categorical import BooleanColumn, CategoricalColumn, distinct_codes
from trainer.data.datetimes import (
    CYCLES,
    DatetimeColumn,
    cycle_position,
    elapsed_days,
    origin_stamp,
)
from trainer.data.images import ImageColumn
from trainer.data.numeric import NumericColumn
from trainer.data.preprocessing import Preprocessing
from trainer.data.text_columns import TextColumn
from trainer.data.token_columns import TokenColumn
from trainer.data.values import (
    column_blocks,
    number_matrix,
    parse_booleans,
    to_microseconds,
    to_text,
)


def raw_width(preprocessing: Preprocessing) -> int:
    """Return the number of raw features."""
    return len(_is_category(preprocessing))


def raw_features(
    preprocessing: Preprocessing, frame: pl.DataFrame
) -> tuple[Float64Array, BoolArray]:
    """Return the raw features of rows.

    Args:
        preprocessing: The fitted columns.
        frame: A table with these columns.

    Returns:
        The features (n, d), NaN where missing, and which of them are codes of categories, bool (d,).
    """
    frame = preprocessing.parse_number_columns(frame)
    is_category = _is_category(preprocessing)
    x = np.empty((frame.height, len(is_category)), order="F")
    numeric = [column for column in preprocessing.columns if isinstance(column, NumericColumn)]
    numbers = _numbers(numeric, frame)
    start = 0
    for column in preprocessing.columns:
        match column:
            case NumericColumn():
                x[:, start] = next(numbers)
            case CategoricalColumn():
                x[:, start] = _codes(column, frame[column.name])
            case BooleanColumn():
                values = parse_booleans(frame[column.name], accept_marks=True)
                x[:, start] = values.cast(pl.Float64).to_numpy()
            case DatetimeColumn():
                stamps = to_microseconds(frame[column.name], column.format)
                x[:, start] = elapsed_days(stamps, origin_stamp(column))
                filled = stamps.fill_null(0).to_numpy()
                for cycle in CYCLES:
                    start += 1
                    position = cycle_position(cycle, filled)
                    x[:, start] = np.where(stamps.is_null().to_numpy(), np.nan, position)
            case ImageColumn() | TextColumn() | TokenColumn():
                continue
            case _:
                assert_never(column)
        start += 1
    return x, is_category


def _is_category(preprocessing: Preprocessing) -> BoolArray:
    """Return which raw features are codes of categories; ordinal levels are numbers."""
    flags: list[bool] = []
    for column in preprocessing.columns:
        if isinstance(column, DatetimeColumn):
            flags += [False] * (1 + len(CYCLES))
        elif not isinstance(column, ImageColumn | TextColumn | TokenColumn):
            flags.append(isinstance(column, CategoricalColumn) and column.encode != "ordinal")
    return np.array(flags)


def _numbers(columns: Sequence[NumericColumn], frame: pl.DataFrame) -> Iterator[Float64Array]:
    """Yield the numbers of each column."""
    bounds = (column.outliers for column in columns)
    names = [column.name for column in columns]
    for block in column_blocks(names, frame.height):
        values = number_matrix(frame, block)
        values[np.isinf(values)] = np.nan
        for index in range(len(block)):
            bound = next(bounds)
            column = values[:, index]
            if bound is not None and bound.action == "clip":
                np.clip(column, bound.lower, bound.upper, out=column)
            yield column


def _codes(column: CategoricalColumn, series: pl.Series) -> Float64Array:
    codes = distinct_codes(column, series)
    is_known = (codes >= 0) & to_text(series).is_not_null().to_numpy()
    return np.where(is_known, codes, np.nan)
