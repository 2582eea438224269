"""Parts of dates as operations of Keras. Imports TensorFlow."""

from __future__ import annotations

from functools import cached_property
from typing import Any, assert_never

import numpy as np
from keras import ops

from trainer.data.datetimes import CalendarPart, Cycle, DatetimeColumn, origin_stamp

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR
_MONTH_STARTS = np.array([0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335], np.int64)


class Dates:
    """Dates without missing ones.

    The calendar is computed by the algorithm of Hinnant, chrono-Compatible Low-Level Date Algorithms:
    days are counted in eras of 400 years that begin on 1 March.

    Args:
        seconds: Seconds since 1970 (UTC), float64 (rows, 1).
    """

    def __init__(self, seconds: Any) -> None:
        self._micros = ops.cast(ops.round(seconds * 1e6), "int64")

    def day(self) -> Any:
        """Return the days since 1970, int64 (rows, 1)."""
        return ops.floor_divide(self._micros, _DAY)

    def elapsed(self, column: DatetimeColumn) -> Any:
        """Return the days since the origin of a column, float64 (rows, 1)."""
        return ops.cast(self._micros - origin_stamp(column), "float64") / float(_DAY)

    def yearday(self) -> Any:
        """Return the days since 1 January in a leap year, float64 (rows, 1)."""
        _, month, day = self._civil
        return ops.cast(ops.take(_MONTH_STARTS, month) + day, "float64")

    def cycle_position(self, cycle: Cycle) -> Any:
        """Return the position in a cycle, float64 (rows, 1) in [0, 1)."""
        match cycle:
            case "year":
                year, _, _ = self._civil
                start, end = self._year_start(year), self._year_start(year + 1)
                since = ops.cast(self._micros - start * _DAY, "float64")
                return since / ops.cast((end - start) * _DAY, "float64")
            case "week":
                since = ops.mod(self._micros - 4 * _DAY, 7 * _DAY)
                return ops.cast(since, "float64") / float(7 * _DAY)
            case "day":
                return ops.cast(ops.mod(self._micros, _DAY), "float64") / float(_DAY)
            case _:
                assert_never(cycle)

    def calendar_value(self, part: CalendarPart) -> Any:
        """Return the value of a calendar part, int64 (rows, 1)."""
        match part:
            case "weekday":
                return ops.mod(self.day() - 4, 7)
            case "month":
                return self._civil[1]
            case "hour":
                return ops.mod(ops.floor_divide(self._micros, _HOUR), 24)
            case _:
                assert_never(part)

    @cached_property
    def _civil(self) -> tuple[Any, Any, Any]:
        """The year, and the month and the day of the month, both from 0."""
        days = self.day() + 719_468
        era = ops.floor_divide(days, 146_097)
        of_era = days - era * 146_097
        leap = (
            ops.floor_divide(of_era, 36_524)
            - ops.floor_divide(of_era, 1_460)
            - ops.floor_divide(of_era, 146_096)
        )
        year_of_era = ops.floor_divide(of_era + leap, 365)
        century = ops.floor_divide(year_of_era, 4) - ops.floor_divide(year_of_era, 100)
        of_year = of_era - (365 * year_of_era + century)
        from_march = ops.floor_divide(5 * of_year + 2, 153)
        day = of_year - ops.floor_divide(153 * from_march + 2, 5)
        month = ops.mod(from_march + 2, 12)
        year = year_of_era + era * 400 + ops.cast(month < 2, "int64")
        return year, month, day

    def _year_start(self, year: Any) -> Any:
        """Return the days from 1970 to 1 January of a year."""
        before = year - 1
        leap = (
            ops.floor_divide(before, 4)
            - ops.floor_divide(before, 100)
            + ops.floor_divide(before, 400)
        )
        return before * 365 + leap - 719_162
