"""What a column shows as its training rows go by, batch after batch.

A column is tallied as the kind it seems to have; what decides its kind is counted beside that, so that
it can be told at the end whether it seemed right.

Owns: counting. Does not own: which rows, how often they are read, what is made of the counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never

import numpy as np
import polars as pl

from trainer.config.data import ColumnKind, Data
from trainer.config.yaml_writer import flow_text
from trainer.data.arrays import Float64Array, RowIndex, UInt64Array
from trainer.data.categorical import (
    BooleanColumn,
    CategoricalColumn,
    fit_boolean_counts,
    fit_level_counts,
    sort_counts,
)
from trainer.data.column_kinds import (
    count_booleans,
    count_dates,
    count_digits,
    default_parse_spec,
    first_value,
    infer_kind,
    invalid_mask,
)
from trainer.data.column_settings import (
    categorical_settings,
    datetime_settings,
    explicit_kind,
    explicit_levels,
)
from trainer.data.datetimes import (
    CYCLES,
    Cycle,
    DatetimeColumn,
    cycle_place,
    elapsed_days,
    fit_dates,
)
from trainer.data.number_formats import parse_numbers
from trainer.data.numeric import SortedValues
from trainer.data.sketches import BottomKSample, Moments, Sketch
from trainer.data.text_formats import ParseSpec, TextFormatDetector, detected_spec, needs_detection
from trainer.data.values import level_text, number, parse_booleans, to_microseconds
from trainer.errors import DataError, Problem

MAX_LEVELS = 2_000_000
"""More different values than this are not counted in a stream."""


@dataclass(slots=True)
class NumericAccumulator:
    """Numbers: moments, a sample, the infinite ones."""

    sample: BottomKSample
    moments: Moments = field(default_factory=Moments)
    missing: int = 0
    first_infinite: int = -1
    infinite: int = 0

    def add(self, values: Float64Array, rows: RowIndex, keys: UInt64Array) -> None:
        """Take in values, NaN where missing, their source rows and the keys of these."""
        gaps = np.isnan(values)
        self.missing += int(np.count_nonzero(gaps))
        infinite = np.isinf(values)
        if infinite.any():
            if self.first_infinite < 0:
                self.first_infinite = int(rows[np.argmax(infinite)])
            self.infinite += int(np.count_nonzero(infinite))
        known = ~(gaps | infinite)
        if not known.all():
            values, keys = values[known], keys[known]
        self.moments = self.moments.merged(Moments.of(values))
        self.sample.add(keys, values)

    def known(self, clipped: Moments | None = None) -> Sketch:
        """What is known of the values; `clipped` as in `Sketch`."""
        return Sketch(self.moments, SortedValues(self.sample.values(), 0), self.missing, clipped)


@dataclass(slots=True)
class LevelAccumulator:
    """Levels: rows of each."""

    name: str
    missing: int = 0
    counts: pl.DataFrame | None = None
    _waiting: list[pl.DataFrame] = field(default_factory=list)
    _rows: int = 0

    def add(self, series: pl.Series) -> None:
        """Take in cells."""
        self.missing += series.null_count()
        levels = level_text(series).drop_nulls().alias("level").to_frame()
        self._waiting.append(levels.group_by("level").len("rows"))
        self._rows += self._waiting[-1].height
        if self._rows > MAX_LEVELS // 4:
            self._merge()

    def levels(self) -> dict[str, int]:
        """Rows of each level, in natural order."""
        self._merge()
        assert self.counts is not None
        return sort_counts(dict(self.counts.iter_rows()))

    def _merge(self) -> None:
        parts = self._waiting if self.counts is None else [self.counts, *self._waiting]
        merged = pl.concat(parts).group_by("level").agg(pl.col("rows").sum())
        self._waiting, self._rows = [], 0
        self.counts = merged
        if merged.height > MAX_LEVELS:
            fix = f"leave it out with data.features.exclude: {flow_text([self.name])}"
            found = f"more than {MAX_LEVELS:,} in '{self.name}'"
            raise DataError(
                Problem("", "levels that can be counted in a stream", found, fix, "runtime.engine")
            )


@dataclass(slots=True)
class BooleanAccumulator:
    """Yes and no."""

    yes: int = 0
    no: int = 0
    missing: int = 0

    def add(self, series: pl.Series) -> None:
        """Take in cells."""
        values = parse_booleans(series, marks=True)
        missing, yes = values.null_count(), int(values.sum())
        self.yes += yes
        self.missing += missing
        self.no += len(values) - missing - yes


@dataclass(slots=True)
class DatetimeAccumulator:
    """Dates: days as numbers, the earliest date, what varies."""

    numbers: NumericAccumulator
    origin: int | None = None
    first: int = 0
    last: int = 0
    places: dict[Cycle, tuple[float, float]] = field(default_factory=dict)

    def add(
        self, series: pl.Series, date_format: str | None, rows: RowIndex, keys: UInt64Array
    ) -> None:
        """Take in cells, their source rows and the keys of these."""
        stamps = to_microseconds(series, date_format)
        known = stamps.drop_nulls().to_numpy()
        if len(known):
            low, high = int(known.min()), int(known.max())
            if self.origin is None:
                self.origin, self.first, self.last = low, low, high
            self.first, self.last = min(self.first, low), max(self.last, high)
            for cycle in CYCLES:
                place = cycle_place(cycle, known)
                least, most = float(place.min()), float(place.max())
                if cycle in self.places:
                    least = min(least, self.places[cycle][0])
                    most = max(most, self.places[cycle][1])
                self.places[cycle] = (least, most)
        if self.origin is None:
            self.numbers.missing += len(series)
        else:
            self.numbers.add(elapsed_days(stamps, self.origin), rows, keys)

    def days(self) -> Sketch:
        """Days since the earliest date."""
        assert self.origin is not None
        known = self.numbers.known()
        # They count from the first batch's earliest date: back to whole microseconds, and on.
        stamps = np.rint(known.ordered.values * 86_400e6).astype(np.int64) + self.origin
        sample = elapsed_days(pl.Series(stamps), self.first)
        away = (self.origin - self.first) / 86_400e6
        last = float(elapsed_days(pl.Series([self.last]), self.first)[0])
        moments = replace(known.moments, mean=known.moments.mean + away, minimum=0.0, maximum=last)
        return Sketch(moments, SortedValues(sample, 0), known.missing)

    def varying(self) -> list[Cycle]:
        """The cycles that vary."""
        return [cycle for cycle, (least, most) in self.places.items() if least != most]


KindAccumulator = NumericAccumulator | LevelAccumulator | BooleanAccumulator | DatetimeAccumulator


@dataclass(slots=True)
class ColumnAccumulator:
    """One column.

    Attributes:
        name: The column.
        dtype: Its type.
        data: The `data` section.
        limit: Values a sample may have.
        detected_spec: How it is read, once its text has been counted.
        kind: What it is tallied as; None while no value was seen.
        known: Rows with a value.
        numeric: Those that are numbers.
        wrong: Those that cannot be read as the stated kind.
        booleans: Those that are true, false, yes or no; not counted on once one is not.
        dates: Those that are dates; likewise.
        digits: Those of text that have a digit, of batches that are not all numbers.
        first: The first one of text.
    """

    name: str
    dtype: pl.DataType
    data: Data
    limit: int
    detected_spec: ParseSpec | None = None
    kind: ColumnKind | None = None
    rows: int = 0
    known: int = 0
    numeric: int = 0
    wrong: int = 0
    booleans: int = 0
    dates: int = 0
    digits: int = 0
    first: str | None = None
    accumulator_of_kind: KindAccumulator | None = None

    def add(self, series: pl.Series, rows: RowIndex, keys: UInt64Array) -> None:
        """Take in cells, their source rows and the keys of these."""
        before = self.rows
        self.rows += len(series)
        written = None if self.detected_spec is None else self.detected_spec.number
        if written is not None:
            series = parse_numbers(series, written)
        numbers = series.to_frame().select(number(self.name, series.dtype)).to_series()
        known, numeric = series.len() - series.null_count(), numbers.len() - numbers.null_count()
        self._count(series, known, numeric)
        if self.wrong or (self.kind is None and self.empty):
            return
        if self.kind is None:
            self.kind = self.found or "numeric"
        if self.accumulator_of_kind is None:
            self.accumulator_of_kind = self._start(before)
        match self.accumulator_of_kind:
            case NumericAccumulator():
                values = np.array(numbers.fill_null(np.nan).to_numpy(), dtype=np.float64)
                self.accumulator_of_kind.add(values, rows, keys)
            case LevelAccumulator() | BooleanAccumulator():
                self.accumulator_of_kind.add(series)
            case DatetimeAccumulator():
                self.accumulator_of_kind.add(series, self.reading.date, rows, keys)

    @property
    def empty(self) -> bool:
        """No value was seen."""
        return self.known == 0 or (self.dtype.is_float() and self.numeric == 0)

    @property
    def found(self) -> ColumnKind | None:
        """The kind of the values seen; None for text that is almost all plain numbers."""
        return self._guess if self.detected_spec is None else self.detected_spec.kind

    @property
    def _guess(self) -> ColumnKind | None:
        return explicit_kind(self.data, self.name) or infer_kind(
            self.dtype,
            self.known,
            self.numeric,
            lambda: self.booleans == self.known,
            lambda: self.dates == self.known,
        )

    @property
    def reading(self) -> ParseSpec:
        """How the values seen are read."""
        if self.detected_spec is not None:
            return self.detected_spec
        return default_parse_spec(self.data, self.name, self.dtype, self._guess)

    @property
    def needs_detection(self) -> bool:
        """Whether the text has to be counted before its kind is known."""
        guess, stated = self._guess, explicit_kind(self.data, self.name)
        if self.dtype != pl.String or self.empty:
            return False
        return not (stated is None and guess in ("boolean", "datetime")) and needs_detection(
            self.data,
            self.name,
            guess,
            known=self.known,
            wrong=self.wrong,
            digits=0 if self.numeric == self.known else self.digits,
            first=self.first,
        )

    @property
    def needs_another_pass(self) -> bool:
        """Whether the column has to be tallied once more as what it was found to be."""
        detected_spec = self.detected_spec is not None and (
            self.detected_spec.number is not None or self.detected_spec.date is not None
        )
        return self.found != self.kind or detected_spec

    def settle(self, detector: TextFormatDetector) -> None:
        """Decide how the column is read, from counts of all its text."""
        self.detected_spec = detected_spec(self.data, self.name, self._guess, detector)

    def restarted(self) -> ColumnAccumulator:
        """To tally the column once more as what it was found to be."""
        return ColumnAccumulator(
            self.name,
            self.dtype,
            self.data,
            self.limit,
            detected_spec=self.detected_spec,
            kind=self.found,
        )

    def _count(self, series: pl.Series, known: int, numeric: int) -> None:
        stated = explicit_kind(self.data, self.name)
        if stated is not None and known:
            self.wrong += int(np.count_nonzero(invalid_mask(series, self.reading, self.data)))
        if series.dtype == pl.String:
            if stated is None and self.booleans == self.known:
                self.booleans += count_booleans(series)
            if stated is None and self.dates == self.known:
                self.dates += count_dates(series)
            self.digits += known if numeric == known else count_digits(series)
            if self.first is None:
                self.first = first_value(series)
        self.known += known
        self.numeric += numeric

    def _start(self, missing: int) -> KindAccumulator:
        """A learner that has seen so many rows, all without a value."""
        assert self.kind is not None
        match self.kind:
            case "numeric":
                return NumericAccumulator(BottomKSample(self.limit), missing=missing)
            case "categorical":
                return LevelAccumulator(self.name, missing=missing)
            case "boolean":
                return BooleanAccumulator(missing=missing)
            case "datetime":
                return DatetimeAccumulator(
                    NumericAccumulator(BottomKSample(self.limit), missing=missing)
                )
            case _:
                assert_never(self.kind)

    def fitted(self) -> CategoricalColumn | BooleanColumn | DatetimeColumn | None:
        """The column, fitted, if it is not numeric; None when it does not vary."""
        match self.accumulator_of_kind:
            case LevelAccumulator():
                settings = categorical_settings(self.data, self.name)
                levels, missing = (
                    self.accumulator_of_kind.levels(),
                    self.accumulator_of_kind.missing,
                )
                stated = explicit_levels(self.data, self.name)
                return fit_level_counts(self.name, levels, missing, settings, stated)
            case BooleanAccumulator():
                settings = categorical_settings(self.data, self.name)
                accumulator = self.accumulator_of_kind
                return fit_boolean_counts(
                    self.name, accumulator.yes, accumulator.no, accumulator.missing, settings
                )
            case DatetimeAccumulator():
                dates = datetime_settings(self.data, self.name, self.reading.date)
                days, varying = self.accumulator_of_kind.days(), self.accumulator_of_kind.varying()
                return fit_dates(self.name, days, self.accumulator_of_kind.first, varying, dates)
            case _:
                raise AssertionError(self.kind)
