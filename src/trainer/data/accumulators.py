"""Accumulate the statistics of columns of each kind over batches of training rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from trainer.config.yaml_writer import flow_text
from trainer.data.arrays import Float64Array, RowIndex, UInt64Array
from trainer.data.categorical import sort_counts
from trainer.data.datetimes import (
    CALENDAR_NAMES,
    CYCLES,
    CalendarPart,
    Cycle,
    DateSummary,
    calendar_values,
    cycle_position,
    elapsed_days,
    year_days,
)
from trainer.data.numeric import SortedValues
from trainer.data.sketches import BottomKSample, Moments, Sketch
from trainer.data.values import level_text, parse_booleans, to_microseconds
from trainer.errors import DataError, Problem

MAX_LEVELS = 2_000_000
"""Maximum number of distinct values of a streamed column."""


@dataclass(slots=True)
class NumericAccumulator:
    """Accumulates numbers: moments, a sample, and the number of infinite values.

    Moments are not accumulated if the sample has no limit.
    """

    sample: BottomKSample
    moments: Moments = field(default_factory=Moments)
    count: int = 0
    missing: int = 0
    first_infinite: int = -1
    infinite: int = 0

    def add(self, values: Float64Array, rows: RowIndex, keys: UInt64Array) -> None:
        """Add values (NaN for missing ones) with their source rows and row keys."""
        missing = np.isnan(values)
        self.missing += int(np.count_nonzero(missing))
        infinite = np.isinf(values)
        if infinite.any():
            if self.first_infinite < 0:
                self.first_infinite = int(rows[np.argmax(infinite)])
            self.infinite += int(np.count_nonzero(infinite))
        finite = ~(missing | infinite)
        if not finite.all():
            values, keys = values[finite], keys[finite]
        self.count += len(values)
        if self.sample.limit is not None:
            self.moments = self.moments.merged(Moments.from_values(values))
        self.sample.add(keys, values)

    def summary(self, clipped: Moments | None = None) -> SortedValues | Sketch:
        """Return the values if the sample has no limit, else a sketch of them.

        Args:
            clipped: See `Sketch`.
        """
        values = self.sample.values()
        if self.sample.limit is None:
            return SortedValues(values, self.missing)
        return Sketch(self.moments, SortedValues(values, 0), self.missing, clipped)


@dataclass(slots=True)
class LevelAccumulator:
    """Accumulates the counts of levels.

    Attributes:
        name: The column.
        is_limited: Whether more than `MAX_LEVELS` levels are an error.
        missing: Number of cells without a value.
        counts: The levels and their counts so far.
    """

    name: str
    is_limited: bool = True
    missing: int = 0
    counts: pl.DataFrame | None = None
    _pending: list[pl.DataFrame] = field(default_factory=list)
    _rows: int = 0

    def add(self, series: pl.Series) -> None:
        """Add cells."""
        self.missing += series.null_count()
        levels = level_text(series).drop_nulls().alias("level").to_frame()
        self._pending.append(levels.group_by("level").len("rows"))
        self._rows += self._pending[-1].height
        if self._rows > MAX_LEVELS // 4:
            self._merge()

    def levels(self) -> dict[str, int]:
        """Return the number of rows of each level, in natural order."""
        self._merge()
        assert self.counts is not None
        return sort_counts(dict(self.counts.iter_rows()))

    def _merge(self) -> None:
        parts = self._pending if self.counts is None else [self.counts, *self._pending]
        merged = pl.concat(parts).group_by("level").agg(pl.col("rows").sum())
        self._pending, self._rows = [], 0
        self.counts = merged
        if self.is_limited and merged.height > MAX_LEVELS:
            fix = f"set data.features.exclude: {flow_text([self.name])}"
            expected = f"at most {MAX_LEVELS:,} categories in the streamed column '{self.name}'"
            raise DataError(Problem("", expected, f"{merged.height:,}", fix, "runtime.engine"))


@dataclass(slots=True)
class BooleanAccumulator:
    """Accumulates the counts of yes and no."""

    yes: int = 0
    no: int = 0
    missing: int = 0

    def add(self, series: pl.Series) -> None:
        """Add cells."""
        values = parse_booleans(series, accept_marks=True)
        missing, yes = values.null_count(), int(values.sum())
        self.yes += yes
        self.missing += missing
        self.no += len(values) - missing - yes


@dataclass(slots=True)
class DatetimeAccumulator:
    """Accumulates dates: elapsed days, days of the year, the earliest date, which cycles vary, and
    calendar values.
    """

    numbers: NumericAccumulator
    year_days: NumericAccumulator
    origin: int | None = None
    first: int = 0
    last: int = 0
    positions: dict[Cycle, tuple[float, float]] = field(default_factory=dict)
    calendar: dict[CalendarPart, set[int]] = field(
        default_factory=lambda: {part: set() for part in CALENDAR_NAMES}
    )

    def add(
        self, series: pl.Series, date_format: str | None, rows: RowIndex, keys: UInt64Array
    ) -> None:
        """Add cells with their source rows and row keys."""
        stamps = to_microseconds(series, date_format)
        self.year_days.add(year_days(stamps), rows, keys)
        known = stamps.drop_nulls().to_numpy()
        if len(known):
            low, high = int(known.min()), int(known.max())
            if self.origin is None:
                self.origin, self.first, self.last = low, low, high
            self.first, self.last = min(self.first, low), max(self.last, high)
            for cycle in CYCLES:
                position = cycle_position(cycle, known)
                low_position, high_position = float(position.min()), float(position.max())
                if cycle in self.positions:
                    low_position = min(low_position, self.positions[cycle][0])
                    high_position = max(high_position, self.positions[cycle][1])
                self.positions[cycle] = (low_position, high_position)
            for part, seen in self.calendar.items():
                seen.update(np.flatnonzero(np.bincount(calendar_values(part, known))).tolist())
        if self.origin is None:
            self.numbers.missing += len(series)
        else:
            self.numbers.add(elapsed_days(stamps, self.origin), rows, keys)

    def summary(self) -> DateSummary:
        """Return the statistics of the dates."""
        calendar = {part: sorted(values) for part, values in self.calendar.items()}
        return DateSummary(
            self.days(), self.year_days.summary(), self.first, self.varying(), calendar
        )

    def days(self) -> SortedValues | Sketch:
        """Return the statistics of the days since the earliest date."""
        assert self.origin is not None
        summary = self.numbers.summary()
        if isinstance(summary, SortedValues):
            # All rows are in one batch, so the days already count from the earliest date.
            return summary
        # Days count from the first batch's earliest date: convert back to whole microseconds first.
        stamps = np.rint(summary.ordered.values * 86_400e6).astype(np.int64) + self.origin
        sample = elapsed_days(pl.Series(stamps), self.first)
        shift = (self.origin - self.first) / 86_400e6
        last = float(elapsed_days(pl.Series([self.last]), self.first)[0])
        moments = replace(
            summary.moments, mean=summary.moments.mean + shift, minimum=0.0, maximum=last
        )
        return Sketch(moments, SortedValues(sample, 0), summary.missing)

    def varying(self) -> list[Cycle]:
        """Return the cycles that vary."""
        return [cycle for cycle, (low, high) in self.positions.items() if low != high]
