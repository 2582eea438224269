"""The encoding of dates as ONNX operators: days, calendar, cycles.

A date is a float64 number of seconds since 1970 (UTC). Its year and month are those of the proleptic
Gregorian calendar, by the algorithm of Howard Hinnant (chrono-Compatible Low-Level Date Algorithms),
whose divisions are exact in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainer.data.datetimes import (
    CalendarPart,
    CalendarValues,
    Cycle,
    DatetimeColumn,
    origin_stamp,
)
from trainer.export.onnx_graph import Graph
from trainer.export.onnx_numbers import Block

_DAY, _HOUR = 86_400.0, 3_600.0
_MONDAY = 4.0
"""1 January 1970 was a Thursday: the first Monday is day 4."""
_MONTH_STARTS = (0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335)


@dataclass(frozen=True)
class DateGraph:
    """The parts of a date, each added to the graph when it is first used.

    Attributes:
        graph: The graph.
        seconds: (rows, 1), float64; NaN where missing.
    """

    graph: Graph
    seconds: str

    @cached_property
    def missing(self) -> str:
        """The mask of missing dates."""
        return self.graph.node("IsNaN", self.seconds)

    @cached_property
    def known(self) -> str:
        """The seconds, 0 where missing."""
        return self.graph.node("Where", self.missing, self._number(0.0), self.seconds)

    @cached_property
    def days(self) -> str:
        """Whole days since 1970."""
        return self._floor(self.known, _DAY)

    @cached_property
    def civil(self) -> tuple[str, str, str, str]:
        """Year from March on, its day from 0, month from March on (0 to 11), day of month from 0."""
        graph, number = self.graph, self._number
        z = graph.node("Add", self.days, number(719_468.0))
        era = self._floor(z, 146_097.0)
        doe = graph.node("Sub", z, graph.node("Mul", era, number(146_097.0)))
        parts = [self._floor(doe, size) for size in (1_460.0, 36_524.0, 146_096.0)]
        yoe = graph.node("Sub", doe, parts[0])
        yoe = graph.node("Sub", graph.node("Add", yoe, parts[1]), parts[2])
        yoe = self._floor(yoe, 365.0)
        year = graph.node("Add", yoe, graph.node("Mul", era, number(400.0)))
        leaps = graph.node("Sub", self._floor(yoe, 4.0), self._floor(yoe, 100.0))
        before = graph.node("Add", graph.node("Mul", yoe, number(365.0)), leaps)
        day = graph.node("Sub", doe, before)
        five = graph.node("Add", graph.node("Mul", day, number(5.0)), number(2.0))
        month = self._floor(five, 153.0)
        start = graph.node("Add", graph.node("Mul", month, number(153.0)), number(2.0))
        return year, day, month, graph.node("Sub", day, self._floor(start, 5.0))

    @cached_property
    def month(self) -> str:
        """The month, from 0 for January."""
        shifted = self.graph.node("Add", self.civil[2], self._number(2.0))
        return self._modulo(shifted, 12.0)

    @cached_property
    def january_year(self) -> str:
        """The year from January on."""
        early = self.graph.node("Less", self.month, self._number(2.0))
        return self.graph.node("Add", self.civil[0], self.graph.cast(early, "float64"))

    def elapsed(self, column: DatetimeColumn) -> str:
        """Days since the origin of the column, NaN where missing."""
        origin = self._number(origin_stamp(column) / 1e6)
        return self.graph.node(
            "Div", self.graph.node("Sub", self.seconds, origin), self._number(_DAY)
        )

    def yearday(self) -> str:
        """Days since 1 January in a leap year, NaN where missing."""
        graph = self.graph
        table = graph.constant(np.array(_MONTH_STARTS, np.float64))
        start = graph.node("Gather", table, graph.cast(self.month, "int64"))
        days = graph.node("Add", start, self.civil[3])
        return graph.node("Where", self.missing, self._number(np.nan), days)

    def waves(self, cycle: Cycle) -> tuple[str, str]:
        """Sine and cosine of the position in a cycle, float32 (rows, 1); 0 where missing."""
        graph = self.graph
        angle = graph.node("Mul", self._position(cycle), self._number(2 * np.pi))
        angle = graph.cast(angle, "float32")
        zero = graph.constant(0.0, "float32")
        sine, cosine = (
            graph.node("Where", self.missing, zero, graph.node(kind, angle))
            for kind in ("Sin", "Cos")
        )
        return sine, cosine

    def one_hot(self, calendar: CalendarValues) -> str:
        """A column for each value of a calendar part, float32; all 0 where missing."""
        graph = self.graph
        values = graph.constant(np.array([calendar.values], np.float64))
        equal = graph.node("Equal", self._part(calendar.part), values)
        known = graph.node("Not", self.missing)
        return graph.cast(graph.node("And", equal, known), "float32")

    def _part(self, part: CalendarPart) -> str:
        match part:
            case "weekday":
                since = self.graph.node("Sub", self.days, self._number(_MONDAY))
                return self._modulo(since, 7.0)
            case "month":
                return self.month
            case "hour":
                return self._modulo(self._floor(self.known, _HOUR), 24.0)

    def _position(self, cycle: Cycle) -> str:
        """Return the position in a cycle, in [0, 1)."""
        graph = self.graph
        match cycle:
            case "year":
                start, end = self._year_start(0.0), self._year_start(1.0)
                passed = graph.node("Sub", graph.node("Div", self.known, self._number(_DAY)), start)
                return graph.node("Div", passed, graph.node("Sub", end, start))
            case "week":
                since = graph.node("Sub", self.known, self._number(_MONDAY * _DAY))
                size = 7 * _DAY
            case "day":
                since, size = self.known, _DAY
        return graph.node("Div", self._modulo(since, size), self._number(size))

    def _year_start(self, later: float) -> str:
        """Return the day since 1970 on which the year, or one `later`, starts."""
        graph = self.graph
        # Of the year before it: leap days of the years up to it.
        before = graph.node("Add", self.january_year, self._number(later - 1.0))
        days = graph.node("Mul", before, self._number(365.0))
        days = graph.node("Add", days, self._floor(before, 4.0))
        days = graph.node("Sub", days, self._floor(before, 100.0))
        days = graph.node("Add", days, self._floor(before, 400.0))
        return graph.node("Sub", days, self._number(719_162.0))

    def _floor(self, value: str, divisor: float) -> str:
        return self.graph.node("Floor", self.graph.node("Div", value, self._number(divisor)))

    def _modulo(self, value: str, divisor: float) -> str:
        whole = self.graph.node("Mul", self._floor(value, divisor), self._number(divisor))
        return self.graph.node("Sub", value, whole)

    def _number(self, value: float) -> str:
        return self.graph.constant(value, "float64")


def encode_calendar(date: DateGraph, column: DatetimeColumn, start: int) -> list[Block]:
    """Return the inputs of a column besides its numbers: cycles, calendar parts, means of days.

    Args:
        date: The parts of its date.
        column: The fitted column.
        start: Its first column of `features`.
    """
    graph = date.graph
    place = start + sum(len(part.features) for part in column.numbers)
    blocks = []
    for cycle in column.cycles:
        for wave in date.waves(cycle):
            blocks.append(Block(wave, (place,)))
            place += 1
    for calendar in column.calendar:
        places = tuple(range(place, place + len(calendar.values)))
        blocks.append(Block(date.one_hot(calendar), places))
        place += len(places)
    if column.dates is not None:
        # The last row of the table is that of days without training rows.
        known = column.dates.days
        table = column.dates.means.encode(np.array([*range(len(known)), -1])).astype(np.float32)
        day = graph.cast(date.days, "int64")
        code = graph.node(
            "LabelEncoder", day, domain="ai.onnx.ml", keys_int64s=list(known),
            values_int64s=list(range(len(known))), default_int64=len(known),
        )  # fmt: skip
        last = graph.constant(len(known), "int64")
        code = graph.node("Where", date.missing, last, code)
        rows = graph.node("Gather", graph.constant(table), code, axis=0)
        places = tuple(range(place, place + table.shape[1]))
        blocks.append(Block(graph.reshape(rows, [len(places)]), places))
    return blocks
