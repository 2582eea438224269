"""Date columns: days elapsed, and places in the year, the week and the day.

    elapsed   days since the earliest training row's, then as a numeric column
    year      sine and cosine of 2π · (time since 1 January) / (length of that year)
    week      the same of the time since Monday, 0:00, of 7 days
    day       the same of the time since 0:00, of 24 hours

Times with an offset are turned to UTC. A missing date has the fill of `elapsed` and 0 for sine and
cosine, the middle of the circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never

import numpy as np
import polars as pl

from trainer.data.arrays import Float64Array, RowIndex
from trainer.data.column_settings import DatetimeSettings
from trainer.data.fitted_base import FittedBase
from trainer.data.numeric import NumericColumn, NumericSummary, SortedValues, fit_numeric_summary
from trainer.data.values import to_microseconds

Cycle = Literal["year", "week", "day"]
CYCLES: tuple[Cycle, ...] = ("year", "week", "day")

_DAY = 86_400_000_000
_MONDAY = 4 * _DAY
"""The first Monday after the epoch of 1970 is its fifth day."""


class DatetimeColumn(FittedBase):
    """A fitted date column.

    Attributes:
        name: The column.
        kind: "datetime".
        missing: Training rows without a date.
        format: How dates are written as text; null for ISO 8601.
        origin: The earliest training row's date, ISO 8601, and what elapsed days count from.
        elapsed: The days as a numeric column; null when not asked for or all equal.
        cycles: The cycles that vary in training.
        features: The columns of `x` made from it.
    """

    kind: Literal["datetime"] = "datetime"
    name: str
    missing: int
    format: str | None
    origin: str
    elapsed: NumericColumn | None
    cycles: tuple[Cycle, ...]
    features: tuple[str, ...]


def fit_datetime(name: str, series: pl.Series, settings: DatetimeSettings) -> DatetimeColumn | None:
    """Learn one column; None when nothing of it varies in training.

    Args:
        name: The column.
        series: Its training rows, one date at least.
        settings: The column's settings.
    """
    stamps = to_microseconds(series, settings.format)
    known = stamps.drop_nulls().to_numpy()
    first = int(known.min())
    days = np.sort(elapsed_days(stamps.drop_nulls(), first))
    places = {part: cycle_place(part, known) for part in CYCLES}
    varying = [part for part in CYCLES if len(np.unique(places[part])) > 1]
    return fit_dates(name, SortedValues(days, stamps.null_count()), first, varying, settings)


def fit_dates(
    name: str,
    days: NumericSummary,
    first: int,
    varying: Sequence[Cycle],
    settings: DatetimeSettings,
) -> DatetimeColumn | None:
    """As `fit_datetime`, from days since the earliest date, that date in microseconds since 1970, and
    the cycles that vary.
    """
    elapsed = None
    if "elapsed" in settings.parts:
        elapsed = fit_numeric_summary(f"{name}.elapsed", days, settings.elapsed, None)
    cycles = [part for part in settings.parts if part != "elapsed" and part in varying]
    features = list(elapsed.features) if elapsed is not None else []
    features += [f"{name}.{part}.{wave}" for part in cycles for wave in ("sin", "cos")]
    if not features:
        return None
    return DatetimeColumn(
        name=name,
        missing=days.missing,
        format=settings.format,
        origin=np.datetime64(first, "us").item().isoformat(),
        elapsed=elapsed,
        cycles=tuple(cycles),
        features=tuple(features),
    )


def origin_stamp(column: DatetimeColumn) -> int:
    """Microseconds since 1970 of the column's origin."""
    return int(np.datetime64(column.origin, "us").astype(np.int64))


def elapsed_days(stamps: pl.Series, origin: int) -> Float64Array:
    """Days since the origin, float64 (n,), NaN where missing."""
    days = (stamps - origin).cast(pl.Float64) / _DAY
    return np.array(days.to_numpy(), dtype=np.float64)


def cycle_place(cycle: Cycle, stamps: RowIndex) -> Float64Array:
    """The place in a cycle, in [0, 1), of microseconds since 1970."""
    match cycle:
        case "year":
            moments = stamps.astype("datetime64[us]")
            years = moments.astype("datetime64[Y]")
            start = years.astype("datetime64[us]").astype(np.int64)
            end = (years + 1).astype("datetime64[us]").astype(np.int64)
            place: Float64Array = (stamps - start) / (end - start)
        case "week":
            place = np.mod(stamps - _MONDAY, 7 * _DAY) / (7 * _DAY)
        case "day":
            place = np.mod(stamps, _DAY) / _DAY
        case _:
            assert_never(cycle)
    return place


def cycle_waves(cycle: Cycle, stamps: pl.Series) -> tuple[Float64Array, Float64Array]:
    """Sine and cosine of the place in a cycle, 0 and 0 where the date is missing."""
    gaps = stamps.is_null().to_numpy()
    angle = 2 * np.pi * cycle_place(cycle, stamps.fill_null(0).to_numpy())
    sine, cosine = np.sin(angle), np.cos(angle)
    sine[gaps] = cosine[gaps] = 0
    return sine, cosine
