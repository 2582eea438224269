"""Encode the columns of a table into the arrays of the inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.arrays import BoolArray, Float64Array, RowIndex
from trainer.data.categorical import (
    BooleanColumn,
    CategoricalColumn,
    boolean_values,
    distinct_codes,
    level_codes,
    ordinal_values,
)
from trainer.data.column_kinds import unreadable_mask
from trainer.data.datetimes import (
    DatetimeColumn,
    calendar_one_hot,
    cycle_waves,
    elapsed_days,
    origin_stamp,
    year_days,
)
from trainer.data.number_formats import NumberFormat, parse_number_columns
from trainer.data.numeric import NumericColumn, apply_numeric
from trainer.data.piecewise import encode_piecewise
from trainer.data.text_columns import TextColumn
from trainer.data.text_formats import ParseSpec
from trainer.data.token_columns import TokenColumn
from trainer.data.values import number_matrix, to_microseconds
from trainer.inputs import CATEGORIES, FEATURES, TERMS, TOKENS

EncodingWarnings = dict[tuple[str, str], int]
"""(column, problem) → number of rows."""


@dataclass
class ColumnEncoder:
    """Fills the inputs, one column or block of columns of the table at a time.

    Attributes:
        frame: The table.
        rows: Only these rows, in this order; None for all.
        inputs: The arrays of the inputs, (n, *shape), which are 0 at first.
        unseen: bool (n,): set for rows with a value that does not occur in training or is invalid.
        encoding_warnings: Filled with (column, problem) → number of rows.
        folds: The folds of training rows for target means; None for other rows.
    """

    frame: pl.DataFrame
    rows: RowIndex | None
    inputs: dict[str, NDArray[Any]]
    unseen: BoolArray
    encoding_warnings: EncodingWarnings
    folds: RowIndex | None = None

    def part(self, names: list[str]) -> pl.DataFrame:
        part = self.frame.select(names)
        return part if self.rows is None else part[self.rows]

    def series(self, name: str) -> pl.Series:
        series = self.frame.get_column(name)
        return series if self.rows is None else series.gather(self.rows)

    def warn(self, name: str, mask: BoolArray, problem: str) -> None:
        count = int(np.count_nonzero(mask))
        if count:
            self.unseen |= mask
            self.encoding_warnings[name, problem] = count

    def put_numeric(self, columns: Sequence[NumericColumn], starts: dict[str, int]) -> None:
        names = [column.name for column in columns]
        part = self.part(names)
        formats = number_formats(columns)
        values = number_matrix(parse_number_columns(part, formats) if formats else part, names)
        self._warn_about_numbers(part, values, columns)
        self.put_bins(columns, values, [starts[name] for name in names])
        scaled, missing = apply_numeric(columns, values)
        targets = [starts[name] for name in names]
        x = self.inputs[FEATURES]
        if targets == list(range(targets[0], targets[0] + len(targets))):
            x[:, targets[0] : targets[0] + len(targets)] = scaled
        else:
            x[:, targets] = scaled
        for index, column in enumerate(columns):
            if column.indicator:
                x[:, targets[index] + 1] = missing[:, index]

    def put_bins(
        self, columns: Sequence[NumericColumn], values: Float64Array, starts: Sequence[int]
    ) -> None:
        bins = {
            index: column.piecewise
            for index, column in enumerate(columns)
            if column.piecewise is not None
        }
        first = [
            start + 1 + column.indicator for start, column in zip(starts, columns, strict=True)
        ]
        encode_piecewise(bins, values, self.inputs[FEATURES], first)

    def _warn_about_numbers(
        self, part: pl.DataFrame, values: Float64Array, columns: Sequence[NumericColumn]
    ) -> None:
        """Make infinite and invalid values missing, and mark and count them."""
        if np.isfinite(values).all():
            return
        names = [column.name for column in columns]
        infinite = np.isinf(values)
        if infinite.any():
            for index in np.flatnonzero(infinite.any(axis=0)):
                self.warn(names[index], infinite[:, index], "an infinite value (read as missing)")
            values[infinite] = np.nan
        missing = np.isnan(values).sum(axis=0) - infinite.sum(axis=0)
        nulls = part.null_count().row(0)
        for index in np.flatnonzero(missing > np.array(nulls)):
            name = names[index]
            invalid = unreadable_mask(
                part[name], ParseSpec("numeric", number_format=columns[int(index)].number_format)
            )
            self.warn(name, invalid, "a value that is not a number (read as missing)")

    def put_categorical(self, column: CategoricalColumn, start: int) -> None:
        series = self.series(column.name)
        codes, unseen = level_codes(column, series)
        self.warn(column.name, unseen, "a value not seen in training")
        match column.encode:
            case "onehot":
                seen = np.flatnonzero(codes >= 0)
                self.inputs[FEATURES][seen, start + codes[seen]] = 1
            case "ordinal":
                self.inputs[FEATURES][:, start] = ordinal_values(column, codes)
            case "embedding":
                self.inputs[CATEGORIES][:, start] = codes + 1
        if (means := column.target_means) is not None:
            stop = start + len(column.features)
            encoded = means.encode(distinct_codes(column, series), self.folds)
            self.inputs[FEATURES][:, stop - means.width : stop] = encoded

    def put_boolean(self, column: BooleanColumn, start: int) -> None:
        values, missing, invalid = boolean_values(column, self.series(column.name))
        self.warn(column.name, invalid, "a value that is neither yes nor no (read as missing)")
        x = self.inputs[FEATURES]
        x[:, start] = values
        if column.has_missing_level:
            x[:, start + 1] = missing

    def put_text(self, column: TextColumn, start: int, first_id: int) -> None:
        pairs, unknown = column.encode(self.series(column.name))
        self.warn(column.name, unknown, "a text without a known word")
        pairs[..., 0] += np.where(pairs[..., 0] > 0, first_id, 0)
        self.inputs[TERMS][:, start : start + column.slots] = pairs

    def put_tokens(self, column: TokenColumn) -> None:
        ids, unknown = column.encode(self.series(column.name))
        self.warn(column.name, unknown, "a text without a known token")
        self.inputs[TOKENS][:] = ids

    def put_datetime(self, column: DatetimeColumn, start: int) -> None:
        series = self.series(column.name)
        invalid = unreadable_mask(series, ParseSpec("datetime", date_format=column.format))
        self.warn(column.name, invalid, "a value that is not a date (read as missing)")
        stamps = to_microseconds(series, column.format)
        x = self.inputs[FEATURES]
        for part in column.numbers:
            is_elapsed = part is column.elapsed
            days = elapsed_days(stamps, origin_stamp(column)) if is_elapsed else year_days(stamps)
            values = days.reshape(-1, 1)
            self.put_bins([part], values, [start])
            scaled, missing = apply_numeric([part], values)
            x[:, start] = scaled[:, 0]
            if part.indicator:
                x[:, start + 1] = missing[:, 0]
            start += len(part.features)
        for cycle in column.cycles:
            sine, cosine = cycle_waves(cycle, stamps)
            x[:, start], x[:, start + 1] = sine, cosine
            start += 2
        for calendar in column.calendar:
            x[:, start : start + len(calendar.values)] = calendar_one_hot(calendar, stamps)
            start += len(calendar.values)
        if column.dates is not None:
            encoded = column.dates.encode(stamps, self.folds)
            x[:, start : start + encoded.shape[1]] = encoded


def number_formats(columns: Iterable[object]) -> dict[str, NumberFormat]:
    """Return the number formats of the numeric columns that are not plain numbers."""
    return {
        column.name: column.number_format
        for column in columns
        if isinstance(column, NumericColumn) and column.number_format is not None
    }
