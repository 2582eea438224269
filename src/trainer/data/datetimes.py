"""Date columns: elapsed days, and positions in the year, the week and the day.

    elapsed   days since the earliest training date, then treated as a numeric column
    yearday   days since 1 January in a leap year, from 0 to 365, likewise: the same for a calendar date
              in every year
    year      sine and cosine of 2π · (time since 1 January) / (length of that year)
    week      the same for the time since Monday, 0:00, and 7 days
    day       the same for the time since 0:00, and 24 hours
    weekday, month, hour   a 0/1 column for each value in training
    date      the mean target of the calendar day (`target_means`)

Times with an offset are converted to UTC. For a missing date, `elapsed` and `yearday` are imputed, and
the others are 0, for sine and cosine the center of the circle.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import polars as pl
from pydantic import Field

from trainer.data.arrays import BoolArray, Float64Array, RowIndex
from trainer.data.column_settings import DatetimeSettings
from trainer.data.fitted_base import FittedBase
from trainer.data.numeric import NumericColumn, NumericSummary, fit_numeric, with_linear_scaling
from trainer.data.target_means import TargetMeans

Cycle = Literal["year", "week", "day"]
CYCLES: tuple[Cycle, ...] = ("year", "week", "day")
CalendarPart = Literal["weekday", "month", "hour"]
CALENDAR_NAMES: dict[CalendarPart, tuple[str, ...]] = {
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "month": (
        "January", "February", "March", "April", "May", "June", "July", "August", "September",
        "October", "November", "December",
    ),
    "hour": tuple(str(hour) for hour in range(24)),
}  # fmt: skip
"""Calendar part → the names of its values 0, 1, …"""

_MONTH_STARTS = np.array([0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335], np.float64)
"""The days before each month of a leap year."""

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR
_MONDAY = 4 * _DAY
"""The first Monday after the epoch (1 January 1970) is its fifth day."""


class CalendarValues(FittedBase):
    """The values of a calendar part in training, each with a 0/1 column.

    Attributes:
        part: The part.
        values: Its values, increasing: weekdays from 0 for Monday, months from 0 for January, hours.
    """

    part: CalendarPart
    values: tuple[int, ...]


class CalendarDays(FittedBase):
    """The target by calendar day.

    Attributes:
        days: The days with training rows, in days since 1 January 1970, increasing.
        means: The target of each.
    """

    days: tuple[int, ...]
    means: TargetMeans

    def encode(self, stamps: pl.Series, folds: RowIndex | None) -> Float64Array:
        """Return the inputs; see `TargetMeans.encode`. A missing date has no training rows."""
        days = np.array(self.days)
        cells = calendar_days(stamps.fill_null(0).to_numpy())
        codes = np.minimum(np.searchsorted(days, cells), len(days) - 1)
        known = (days[codes] == cells) & stamps.is_not_null().to_numpy()
        return self.means.encode(np.where(known, codes, -1), folds)


class DatetimeColumn(FittedBase):
    """A fitted date column.

    Attributes:
        missing: Number of training rows without a date.
        format: The format of dates as text; null for ISO 8601.
        origin: The earliest training date, ISO 8601, from which elapsed days count.
        elapsed: The elapsed days as a numeric column; null if not configured or constant.
        yearday: The day of the year as a numeric column; omitted if not configured or constant.
        cycles: The cycles that vary in training.
        calendar: The one-hot calendar parts with two or more values in training; omitted without any.
        dates: The target by calendar day; omitted without it.
        features: The encoded columns for this column.
    """

    kind: Literal["datetime"] = "datetime"
    name: str
    missing: int
    format: str | None
    origin: str
    elapsed: NumericColumn | None
    yearday: NumericColumn | None = Field(default=None, exclude_if=lambda value: value is None)
    cycles: tuple[Cycle, ...]
    calendar: tuple[CalendarValues, ...] = Field(default=(), exclude_if=operator.not_)
    dates: CalendarDays | None = Field(default=None, exclude_if=lambda value: value is None)
    features: tuple[str, ...]

    @property
    def numbers(self) -> tuple[NumericColumn, ...]:
        """The parts that are numeric columns, in the order of their inputs, which are the first."""
        return tuple(part for part in (self.elapsed, self.yearday) if part is not None)


@dataclass(frozen=True, slots=True)
class DateSummary:
    """Statistics of the training dates of a column.

    Attributes:
        elapsed: Statistics of the days since the earliest date.
        yearday: Statistics of the day of the year.
        first: The earliest date, in microseconds since 1970.
        varying: The cycles that vary.
        calendar: The values of each calendar part, increasing.
    """

    elapsed: NumericSummary
    yearday: NumericSummary
    first: int
    varying: Sequence[Cycle]
    calendar: Mapping[CalendarPart, Sequence[int]]


def fit_datetime(
    name: str, dates: DateSummary, settings: DatetimeSettings
) -> DatetimeColumn | None:
    """Fit one column, without dates; None if it has no other features and dates are not configured.

    Args:
        name: The column.
        dates: Statistics of its dates.
        settings: The column's settings.
    """
    elapsed = yearday = None
    parts = settings.parts
    if "elapsed" in parts:
        elapsed = fit_numeric(f"{name}.elapsed", dates.elapsed, settings.numbers, None)
    if "yearday" in parts:
        # One indicator is enough.
        indicator = settings.numbers.indicator and elapsed is None
        numbers = settings.numbers.model_copy(update={"indicator": indicator})
        yearday = fit_numeric(f"{name}.yearday", dates.yearday, numbers, None)
    cycles = sorted((cycle for cycle in dates.varying if cycle in parts), key=parts.index)
    one_hot = [
        CalendarValues(part=part, values=tuple(values))
        for part, values in dates.calendar.items()
        if part in parts and len(values) > 1
    ]
    one_hot.sort(key=lambda item: parts.index(item.part))
    numbers_of = [part for part in (elapsed, yearday) if part is not None]
    features = [feature for part in numbers_of for feature in part.features]
    features += [f"{name}.{part}.{wave}" for part in cycles for wave in ("sin", "cos")]
    features += [
        f"{name}.{item.part}={CALENDAR_NAMES[item.part][value]}"
        for item in one_hot
        for value in item.values
    ]
    if not features and "date" not in parts:
        return None
    return DatetimeColumn(
        name=name,
        missing=dates.elapsed.missing,
        format=settings.format,
        origin=np.datetime64(dates.first, "us").item().isoformat(),
        elapsed=elapsed,
        yearday=yearday,
        cycles=tuple(cycles),
        calendar=tuple(one_hot),
        features=tuple(features),
    )


def with_linear_numbers(column: DatetimeColumn) -> DatetimeColumn:
    """Return the column with linear scaling of its numeric parts; see `with_linear_scaling`."""
    before = sum(len(part.features) for part in column.numbers)
    elapsed, yearday = (
        None if part is None else with_linear_scaling(part)
        for part in (column.elapsed, column.yearday)
    )
    linear = column.model_copy(update={"elapsed": elapsed, "yearday": yearday})
    features = [feature for part in linear.numbers for feature in part.features]
    return linear.model_copy(update={"features": (*features, *column.features[before:])})


def origin_stamp(column: DatetimeColumn) -> int:
    """Return the column's origin in microseconds since 1970."""
    return int(np.datetime64(column.origin, "us").astype(np.int64))


def elapsed_days(stamps: pl.Series, origin: int) -> Float64Array:
    """Return the days since the origin, float64 (n,), NaN where missing."""
    days = (stamps - origin).cast(pl.Float64) / _DAY
    return np.array(days.to_numpy(), dtype=np.float64)


def year_days(stamps: pl.Series) -> Float64Array:
    """Return the days since 1 January in a leap year, float64 (n,), NaN where missing."""
    days = stamps.fill_null(0).to_numpy().astype("datetime64[us]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    day_of_month = (days - months).astype(np.int64)
    values: Float64Array = np.array(_MONTH_STARTS[months.astype(np.int64) % 12] + day_of_month)
    values[stamps.is_null().to_numpy()] = np.nan
    return values


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


def calendar_days(stamps: RowIndex) -> RowIndex:
    """Return the days since 1970 of microseconds since 1970, rounded down."""
    return stamps // _DAY


def calendar_values(part: CalendarPart, stamps: RowIndex) -> RowIndex:
    """Return the value of a calendar part, from 0, of microseconds since 1970."""
    match part:
        case "weekday":
            values = (stamps - _MONDAY) // _DAY % 7
        case "month":
            values = stamps.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) % 12
        case "hour":
            values = stamps // _HOUR % 24
        case _:
            assert_never(part)
    return values


def calendar_one_hot(calendar: CalendarValues, stamps: pl.Series) -> BoolArray:
    """Return a column for each value, bool (n, values); all False for other values and missing dates."""
    values = calendar_values(calendar.part, stamps.fill_null(0).to_numpy())
    known = stamps.is_not_null().to_numpy()
    matches: BoolArray = (values[:, None] == np.array(calendar.values)) & known[:, None]
    return matches
