"""Accumulate one column over batches of training rows, as the kind guessed from its first values.

The counts that determine its kind are accumulated too, to verify the guess at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
import polars as pl

from trainer.config.data import ColumnKind, Data
from trainer.data.accumulators import (
    BooleanAccumulator,
    DatetimeAccumulator,
    LevelAccumulator,
    NumericAccumulator,
)
from trainer.data.arrays import RowIndex, UInt64Array
from trainer.data.categorical import BooleanColumn, CategoricalColumn, fit_boolean, fit_categorical
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
    text_settings,
)
from trainer.data.datetimes import DatetimeColumn, fit_datetime
from trainer.data.images import ImageAccumulator, ImageColumn, fit_image_column
from trainer.data.sketches import BottomKSample
from trainer.data.spellings import looks_like_boolean, looks_like_date
from trainer.data.text_columns import TextColumn
from trainer.data.text_fitting import TextAccumulator
from trainer.data.text_formats import ParseSpec, TextFormatDetector, detected_spec, needs_detection
from trainer.data.token_columns import TokenColumn
from trainer.data.token_fitting import PieceAccumulator, TokenAccumulator, token_accumulator

KindAccumulator = (
    NumericAccumulator
    | LevelAccumulator
    | BooleanAccumulator
    | DatetimeAccumulator
    | ImageAccumulator
    | TextAccumulator
    | TokenAccumulator
    | PieceAccumulator
)
FittedColumn = (
    CategoricalColumn | BooleanColumn | DatetimeColumn | ImageColumn | TextColumn | TokenColumn
)


@dataclass(slots=True)
class ColumnAccumulator:
    """Accumulates one column.

    Attributes:
        name: The column.
        dtype: Its type.
        data: The `data` section.
        limit: Maximum sample size; None to keep all values.
        counts_only: Whether to only infer the kind.
        detected_spec: How it is parsed, once the formats of its text have been detected.
        kind: The kind that it is accumulated as; None until there is a value.
        known: Rows with a value.
        numeric: Values that are numbers.
        invalid: Values that cannot be parsed as the configured kind.
        booleans: Values that are true, false, yes or no; counted up to the first batch with others.
        dates: Values that are dates; counted up to the first batch with others.
        digits: Text values with a digit, in batches that are not all numbers.
        first: The first text value.
    """

    name: str
    dtype: pl.DataType
    data: Data
    limit: int | None
    counts_only: bool = False
    detected_spec: ParseSpec | None = None
    kind: ColumnKind | None = None
    rows: int = 0
    known: int = 0
    numeric: int = 0
    invalid: int = 0
    booleans: int = 0
    dates: int = 0
    digits: int = 0
    first: str | None = None
    statistics: KindAccumulator | None = None

    def add(self, series: pl.Series, numbers: pl.Series, rows: RowIndex, keys: UInt64Array) -> None:
        """Add cells.

        Args:
            series: The cells; numbers in a detected format are already parsed.
            numbers: The cells as numbers; see `number_expr`.
            rows: Their source rows.
            keys: The keys of these rows.
        """
        before = self.rows
        self.rows += len(series)
        known, numeric = series.len() - series.null_count(), numbers.len() - numbers.null_count()
        self._count(series, known, numeric)
        if self.counts_only or self.invalid or (self.kind is None and self.is_empty):
            return
        if self.kind is None:
            self.kind = self.inferred_kind or "numeric"
        if self.statistics is None:
            self.statistics = self._make_accumulator(before)
        match self.statistics:
            case NumericAccumulator():
                values = np.array(numbers.fill_null(np.nan).to_numpy(), dtype=np.float64)
                self.statistics.add(values, rows, keys)
            case (
                LevelAccumulator()
                | BooleanAccumulator()
                | TextAccumulator()
                | TokenAccumulator()
                | PieceAccumulator()
            ):
                self.statistics.add(series)
            case DatetimeAccumulator():
                self.statistics.add(series, self.spec.date_format, rows, keys)
            case ImageAccumulator():
                pass

    @property
    def is_empty(self) -> bool:
        """Whether the column has no values."""
        return self.known == 0 or (self.dtype.is_float() and self.numeric == 0)

    @property
    def inferred_kind(self) -> ColumnKind | None:
        """The kind inferred so far; None for text that is almost all plain numbers."""
        return self._basic_kind if self.detected_spec is None else self.detected_spec.kind

    @property
    def _basic_kind(self) -> ColumnKind | None:
        return explicit_kind(self.data, self.name) or infer_kind(
            self.dtype,
            self.known,
            self.numeric,
            lambda: self.booleans == self.known,
            lambda: self.dates == self.known,
        )

    @property
    def spec(self) -> ParseSpec:
        """How the values are parsed."""
        if self.detected_spec is not None:
            return self.detected_spec
        return default_parse_spec(self.data, self.name, self.dtype, self._basic_kind)

    @property
    def needs_detection(self) -> bool:
        """Whether the kind depends on the formats of its text, which have to be detected."""
        basic_kind, configured = self._basic_kind, explicit_kind(self.data, self.name)
        if self.dtype != pl.String or self.is_empty:
            return False
        return not (
            configured is None and basic_kind in ("boolean", "datetime")
        ) and needs_detection(
            self.data,
            self.name,
            basic_kind,
            known=self.known,
            invalid=self.invalid,
            digits=0 if self.numeric == self.known else self.digits,
            first=self.first,
        )

    @property
    def needs_another_pass(self) -> bool:
        """Whether the column has to be accumulated again as another kind or format."""
        if self.is_empty:
            return False
        is_formatted = self.detected_spec is not None and (
            self.detected_spec.number_format is not None
            or self.detected_spec.date_format is not None
        )
        return self.inferred_kind != self.kind or is_formatted

    def set_detected_formats(self, detector: TextFormatDetector) -> None:
        """Set how the column is parsed, from the formats detected in all its text."""
        self.detected_spec = detected_spec(self.data, self.name, self._basic_kind, detector)

    def for_next_pass(self) -> ColumnAccumulator:
        """Return an empty accumulator with the kind and format that this one determined."""
        return ColumnAccumulator(
            self.name,
            self.dtype,
            self.data,
            self.limit,
            detected_spec=self.detected_spec,
            kind=self.inferred_kind,
        )

    def without_statistics(self) -> ColumnAccumulator:
        """Return a copy with the counts only, which takes no memory."""
        return replace(self, statistics=None)

    def _count(self, series: pl.Series, known: int, numeric: int) -> None:
        configured = explicit_kind(self.data, self.name)
        if configured is not None and known:
            self.invalid += int(np.count_nonzero(invalid_mask(series, self.spec, self.data)))
        if series.dtype == pl.String:
            if configured is None and numeric < known:
                self._count_words(series)
            self.digits += known if numeric == known else count_digits(series)
            if self.first is None:
                self.first = first_value(series)
        self.known += known
        self.numeric += numeric

    def _count_words(self, series: pl.Series) -> None:
        """Count booleans and dates, as long as all values so far and the first of these are."""
        sample = series.drop_nulls().head(3).to_list()
        if self.booleans == self.known and all(map(looks_like_boolean, sample)):
            self.booleans += count_booleans(series)
        if self.dates == self.known and all(map(looks_like_date, sample)):
            self.dates += count_dates(series)

    def _make_accumulator(self, missing: int) -> KindAccumulator:
        """Return an accumulator of the column's kind that starts with a number of missing values."""
        assert self.kind is not None
        match self.kind:
            case "numeric":
                return NumericAccumulator(BottomKSample(self.limit), missing=missing)
            case "categorical":
                return LevelAccumulator(self.name, self.limit is not None, missing)
            case "boolean":
                return BooleanAccumulator(missing=missing)
            case "datetime":
                return DatetimeAccumulator(
                    NumericAccumulator(BottomKSample(self.limit), missing=missing),
                    NumericAccumulator(BottomKSample(self.limit), missing=missing),
                )
            case "image":
                return ImageAccumulator()
            case "text":
                settings = text_settings(self.data, self.name)
                return TextAccumulator(settings, missing=missing, documents=missing)
            case "tokens":
                return token_accumulator(self.data.tokens, missing)
            case _:
                assert_never(self.kind)

    def fitted(self) -> FittedColumn | None:
        """Fit a column that is not numeric; None if it is constant."""
        match self.statistics:
            case LevelAccumulator():
                settings = categorical_settings(self.data, self.name)
                levels, missing = (
                    self.statistics.levels(),
                    self.statistics.missing,
                )
                configured = explicit_levels(self.data, self.name)
                return fit_categorical(self.name, levels, missing, settings, configured)
            case BooleanAccumulator():
                settings = categorical_settings(self.data, self.name)
                accumulator = self.statistics
                return fit_boolean(
                    self.name, accumulator.yes, accumulator.no, accumulator.missing, settings
                )
            case DatetimeAccumulator():
                dates = datetime_settings(self.data, self.name, self.spec.date_format)
                return fit_datetime(self.name, self.statistics.summary(), dates)
            case ImageAccumulator():
                return fit_image_column(self.name, self.data.image)
            case TextAccumulator() | TokenAccumulator() | PieceAccumulator():
                return self.statistics.fitted(self.name)
            case _:
                raise AssertionError(self.kind)
