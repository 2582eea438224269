"""Date columns: elapsed days, and positions in the year, the week and the day.

    elapsed   days since the earliest training date, then treated as a numeric column
    year      sine and cosine of 2π · (time since 1 January) / (length of that year)
    week      the same for the time since Monday, 0:00, and 7 days
    day       the same for the time since 0:00, and 24 hours

Times with an offset are converted to UTC. For a missing date, `elapsed` is imputed, and sine and cosine
are 0, the center of the circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never

import numpy as np
import polars as pl

from trainer.data.arrays import Float64Array, RowIndex
from trainer.data.column_settings import DatetimeSettings
from trainer.data.fitted_base import FittedBase
from trainer.data.numeric import NumericColumn, NumericSummary, fit_numeric, with_linear_scaling

Cycle = Literal["year", "week", "day"]
CYCLES: tuple[Cycle, ...] = ("year", "week", "day")

_DAY = 86_400_000_000
_MONDAY = 4 * _DAY
"""The first Monday after the epoch (1 January 1970) is its fifth day."""


class DatetimeColumn(FittedBase):
    """A fitted date column.

    Attributes:
        missing: Number of training rows without a date.
        format: The format of dates as text; null for ISO 8601.
        origin: The earliest training date, ISO 8601, from which elapsed days count.
        elapsed: The elapsed days as a numeric column; null if not configured or constant.
        cycles: The cycles that vary in training.
        features: The columns of `x` for this column.
    """

    kind: Literal["datetime"] = "datetime"
    name: str
    missing: int
    format: str | None
    origin: str
    elapsed: NumericColumn | None
    cycles: tuple[Cycle, ...]
    features: tuple[str, ...]


def fit_datetime(
    name: str,
    days: NumericSummary,
    first: int,
    varying: Sequence[Cycle],
    settings: DatetimeSettings,
) -> DatetimeColumn | None:
    """Fit one column; None if all its features are constant in training.

    Args:
        name: The column.
        days: Statistics of the days since the earliest date.
        first: The earliest date, in microseconds since 1970.
        varying: The cycles that vary.
        settings: The column's settings.
    """
    elapsed = None
    if "elapsed" in settings.parts:
        elapsed = fit_numeric(f"{name}.elapsed", days, settings.elapsed, None)
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


def with_linear_elapsed(column: DatetimeColumn) -> DatetimeColumn:
    """Return the column with linear scaling of the elapsed days; see `with_linear_scaling`."""
    if column.elapsed is None:
        return column
    elapsed = with_linear_scaling(column.elapsed)
    features = elapsed.features + column.features[len(column.elapsed.features) :]
    return column.model_copy(update={"elapsed": elapsed, "features": features})


def origin_stamp(column: DatetimeColumn) -> int:
    """Return the column's origin in microseconds since 1970."""
    return int(np.datetime64(column.origin, "us").astype(np.int64))


def elapsed_days(stamps: pl.Series, origin: int) -> Float64Array:
    """Return the days since the origin, float64 (n,), NaN where missing."""
    days = (stamps - origin).cast(pl.Float64) / _DAY
    return np.array(days.to_numpy(), dtype=np.float64)


def cycle_position(cycle: Cycle, stamps: RowIndex) -> Float64Array:
    """Return the position in a cycle, in [0, 1), of microseconds since 1970."""
    match cycle:
        case "year":
            moments = stamps.astype("datetime64[us]")
            years = moments.astype("datetime64[Y]")
            start = years.astype("datetime64[us]").astype(np.int64)
            end = (years + 1).astype("datetime64[us]").astype(np.int64)
            position: Float64Array = (stamps - start) / (end - start)
        case "week":
            position = np.mod(stamps - _MONDAY, 7 * _DAY) / (7 * _DAY)
        case "day":
            position = np.mod(stamps, _DAY) / _DAY
        case _:
            assert_never(cycle)
    return position


def cycle_waves(cycle: Cycle, stamps: pl.Series) -> tuple[Float64Array, Float64Array]:
    """Return sine and cosine of the position in a cycle; both are 0 where the date is missing."""
    missing = stamps.is_null().to_numpy()
    angle = 2 * np.pi * cycle_position(cycle, stamps.fill_null(0).to_numpy())
    sine, cosine = np.sin(angle), np.cos(angle)
    sine[missing] = cosine[missing] = 0
    return sine, cosine
