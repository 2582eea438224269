"""Parse cells: numbers, yes/no values, dates, and the text of levels and classes.

Every cell is parsed independently of the other rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from trainer.data.arrays import BoolArray, Float64Array
from trainer.data.date_formats import parsed_dates
from trainer.data.spellings import (
    FALSE_TOKENS,
    FALSE_WORDS,
    INTEGRAL_PATTERN,
    ISO_DATE,
    NOT_NORMALIZED_PATTERN,
    TRUE_TOKENS,
    TRUE_WORDS,
    canonical_level,
)

BLOCK_CELLS = 4_000_000
"""Approximate number of cells per block of columns: few passes for wide tables, little memory for long
ones."""


def column_blocks(names: Sequence[str], rows: int) -> Iterator[list[str]]:
    """Yield the names in blocks of about `BLOCK_CELLS` cells, at least one column each."""
    width = max(1, BLOCK_CELLS // max(1, rows))
    for start in range(0, len(names), width):
        yield list(names[start : start + width])


def is_nested(dtype: pl.DataType) -> bool:
    """Return whether cells of this type are nested (lists, structs, objects) or bytes."""
    return dtype.is_nested() or dtype in (pl.Binary, pl.Object)


def is_date_type(dtype: pl.DataType) -> bool:
    """Return whether cells of this type are dates or datetimes; durations and times are numbers."""
    return dtype.is_temporal() and not _is_clock(dtype)


def _is_clock(dtype: pl.DataType) -> bool:
    return dtype in (pl.Duration, pl.Time)


def number_expr(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return the column as Float64; null if a cell is missing or not a number.

    Infinity is kept. Durations and times of day are in seconds.
    """
    column = pl.col(name)
    if dtype == pl.Duration:
        return column.dt.total_microseconds() / 1e6
    if dtype == pl.Time:
        return column.cast(pl.Int64) / 1e9
    if is_date_type(dtype):
        return pl.lit(None, dtype=pl.Float64).alias(name)
    if dtype == pl.String:
        return column.cast(pl.Float64, strict=False).fill_nan(None)
    if dtype.is_float():
        return column.cast(pl.Float64).fill_nan(None)
    return column.cast(pl.Float64)


def number_matrix(frame: pl.DataFrame, names: Sequence[str]) -> Float64Array:
    """Return the columns as float64 (rows, len(names)) in Fortran order; NaN where not a number."""
    schema = frame.schema
    part = frame.select([number_expr(name, schema[name]) for name in names])
    # Arrays that polars returns without copying are read-only.
    return np.require(part.to_numpy(order="fortran"), np.float64, ["F", "W"])


def to_text(series: pl.Series) -> pl.Series:
    """Return the cells as text: 3 and 3.0 in a numeric column are both "3", true is "true".

    Lists of single values are joined.
    """
    if series.dtype == pl.String:
        return series
    if isinstance(series.dtype, pl.Array):
        series = series.arr.to_list()
    if isinstance(series.dtype, pl.List):
        return series.cast(pl.List(pl.String)).list.join("|")
    if _is_clock(series.dtype):
        series = series.to_frame().select(number_expr(series.name, series.dtype)).to_series()
    if series.dtype.is_float():
        cell = pl.col(series.name).cast(pl.Float64).fill_nan(None)
        positive = pl.when(cell == 0).then(0.0).otherwise(cell)
        integers = positive.cast(pl.String).str.strip_suffix(".0")
        return series.to_frame().select(integers.alias(series.name)).to_series()
    return series.cast(pl.String)


def level_text(series: pl.Series) -> pl.Series:
    """Return the cells as level text, in canonical spelling."""
    if series.dtype != pl.String:
        return to_text(series)
    spellings = series.unique().drop_nulls()
    integral = spellings.str.contains(INTEGRAL_PATTERN) & spellings.str.contains(r"[+.]|^-0")
    changes = spellings.filter(integral | spellings.str.contains(NOT_NORMALIZED_PATTERN)).to_list()
    if not changes:
        return series
    return series.replace(changes, [canonical_level(label) for label in changes])


def parse_booleans(series: pl.Series, *, accept_marks: bool) -> pl.Series:
    """Parse the cells as Boolean; null if missing or neither.

    Args:
        series: One column.
        accept_marks: Whether to accept 1/0, y/n, t/f and on/off too, not only true/false and yes/no.
    """
    if series.dtype == pl.Boolean:
        return series
    texts = pl.col(series.name).str.to_lowercase()
    yes = texts.is_in(list(TRUE_TOKENS if accept_marks else TRUE_WORDS))
    no = texts.is_in(list(FALSE_TOKENS if accept_marks else FALSE_WORDS))
    parsed = pl.when(yes | no).then(yes).alias(series.name)
    return to_text(series).to_frame().select(parsed).to_series()


def to_microseconds(series: pl.Series, date_format: str | None) -> pl.Series:
    """Parse dates and times as Int64 microseconds since 1970 (UTC); null if missing or not a date.

    Args:
        series: A column of dates, datetimes or text.
        date_format: The strftime format of dates as text; None for ISO 8601 (`2024-03-31`,
            `2024-03-31T18:30`, with optional seconds, fractions and offset).
    """
    if is_date_type(series.dtype):
        return _microseconds(series)
    texts = to_text(series)
    if date_format is not None:
        dates = texts.to_frame().select(parsed_dates(pl.col(texts.name), date_format))
        return _microseconds(dates.to_series())
    return _iso(texts)


def _microseconds(series: pl.Series) -> pl.Series:
    dtype = series.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return series.cast(pl.Datetime("us")).cast(pl.Int64)


def _iso(texts: pl.Series) -> pl.Series:
    """Parse ISO 8601 by fixed positions, so that each row is parsed independently of the others."""
    cell = pl.col(texts.name)
    day = cell.str.slice(0, 10).str.strptime(pl.Date, "%Y-%m-%d", strict=False)
    rest = cell.str.slice(11)

    def integer(pattern: str) -> pl.Expr:
        return rest.str.extract(pattern, 1).cast(pl.Int64, strict=False).fill_null(0)

    hour, minute = integer(r"^(\d{2})"), integer(r"^\d{2}:(\d{2})")
    second = integer(r"^\d{2}:\d{2}:(\d{2})")
    fraction = rest.str.extract(r"[.,](\d{1,9})", 1).fill_null("0").str.pad_end(6, "0")
    offset = integer(r"[+-](\d{2}):?(?:\d{2})?$") * 60 + integer(r"[+-]\d{2}:?(\d{2})$")
    east = rest.str.contains(r"\+[\d:]+$")
    clock = (hour * 60 + minute + pl.when(east).then(-offset).otherwise(offset)) * 60 + second
    stamp = day.cast(pl.Datetime("us")).cast(pl.Int64) + clock * 1_000_000
    stamp += fraction.str.slice(0, 6).cast(pl.Int64)
    is_valid = cell.str.contains(ISO_DATE.pattern) & (hour < 24) & (minute < 60) & (second < 60)
    return texts.to_frame().select(pl.when(is_valid).then(stamp).alias(texts.name)).to_series()


def to_mask(mask: pl.Series) -> BoolArray:
    """Return a Boolean series as a numpy mask; null counts as False."""
    return np.asarray(mask.fill_null(value=False).to_numpy(), dtype=np.bool_)
