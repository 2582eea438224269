"""The encoding of raw columns as operations of Keras: raw inputs → the inputs of a network.

Only layers and operations of Keras itself are used, so that the model loads without this package.
Imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from trainer.data.categorical import BooleanColumn, CategoricalColumn, ordinal_values
from trainer.data.datetimes import DatetimeColumn
from trainer.data.images import ImageColumn
from trainer.data.numeric import NumericColumn
from trainer.data.preprocessing import Preprocessing
from trainer.data.text_columns import TextColumn
from trainer.data.token_columns import UNKNOWN, TokenColumn
from trainer.export.keras_dates import Dates
from trainer.export.levels import level_keys, number_codes, number_target_means
from trainer.inputs import CATEGORIES, FEATURES, IMAGE, TERMS, TOKENS

Array = NDArray[Any]
_OOV = "\u241bother"
"""Stands for texts that are not in a vocabulary; must not be a level."""


@dataclass(frozen=True)
class EncodedColumns:
    """The inputs of a network, and which rows have values unseen in training, bool (rows,)."""

    inputs: Mapping[str, Any]
    unseen: Any


class ColumnGraph:
    """Encodes the columns of a preprocessing.

    Args:
        preprocessing: The fitted columns.
        tensors: Column → its raw cells (`trainer.export.schema`).
        missing: Column → the text of a missing value, for categories.
        label: Distinguishes its layers from those of other preprocessing.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        tensors: Mapping[str, Any],
        missing: Mapping[str, str],
        label: str,
    ) -> None:
        self._preprocessing = preprocessing
        self._tensors = tensors
        self._missing = missing
        self._label = label
        self._starts = {
            name: place.columns.start for name, place in preprocessing.input_columns.items()
        }
        self._blocks: list[Any] = []
        self._places: list[int] = []
        self._unseen: list[Any] = []
        self._ids: list[Any] = []
        self._inputs: dict[str, Any] = {}

    def encode(self) -> EncodedColumns:
        """Return the inputs of the network."""
        columns = self._preprocessing.columns
        numeric = [column for column in columns if isinstance(column, NumericColumn)]
        if numeric:
            self._put_raw_numbers(numeric)
        booleans = [column for column in columns if isinstance(column, BooleanColumn)]
        if booleans:
            self._put_booleans(booleans)
        terms: list[Any] = []
        first = 0
        for index, column in enumerate(columns):
            match column:
                case DatetimeColumn():
                    self._put_date(column)
                case CategoricalColumn():
                    self._put_category(column, index)
                case TextColumn():
                    terms.append(self._terms(column, first))
                    first += column.term_count
                case TokenColumn():
                    ids = self._tensors[column.name]
                    self._unseen.append(ops.equal(ops.max(ids, axis=1, keepdims=True), UNKNOWN))
                    self._inputs[TOKENS] = ids
                case ImageColumn():
                    self._inputs[IMAGE] = self._tensors[column.name]
                case _:
                    pass
        if self._blocks:
            joined = ops.concatenate(self._blocks, axis=1)
            order = np.argsort(self._places)
            self._inputs[FEATURES] = ops.take(joined, order, axis=1)
        if self._ids:
            self._inputs[CATEGORIES] = ops.concatenate(self._ids, axis=1)
        if terms:
            self._inputs[TERMS] = terms[0] if len(terms) == 1 else ops.concatenate(terms, axis=1)
        return EncodedColumns(self._inputs, self._any_unseen())

    def _any_unseen(self) -> Any:
        if not self._unseen:
            # Images alone: no value is unseen.
            tensor = next(iter(self._tensors.values()))
            values = ops.reshape(tensor, (-1, prod(tensor.shape[1:])))
            return ops.any(ops.zeros_like(values, dtype="bool"), axis=1)
        marks = [ops.cast(mark, "int32") for mark in self._unseen]
        joined = marks[0] if len(marks) == 1 else ops.concatenate(marks, axis=1)
        return ops.max(joined, axis=1) > 0

    def _put(self, block: Any, places: Sequence[int]) -> None:
        self._blocks.append(ops.cast(block, "float32"))
        self._places += places

    def _put_raw_numbers(self, columns: Sequence[NumericColumn]) -> None:
        parts = [self._tensors[column.name] for column in columns]
        values = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)
        infinite = ops.isinf(values)
        self._unseen.append(infinite)
        missing = ops.logical_or(infinite, ops.isnan(values))
        self._put_numbers(columns, [self._starts[c.name] for c in columns], values, missing)

    def _put_numbers(
        self, columns: Sequence[NumericColumn], starts: Sequence[int], values: Any, missing: Any
    ) -> None:
        """Clip, impute and scale numbers (rows, k); see `apply_numeric`."""
        clips = [
            column.outliers
            if column.outliers is not None and column.outliers.action == "clip"
            else None
            for column in columns
        ]
        fill = _row([column.fill for column in columns])
        known = ops.where(missing, fill, values)
        for index, column in enumerate(columns):
            if column.piecewise is not None:
                at = starts[index] + 1 + column.indicator
                edges, means = np.array(column.piecewise.edges), np.array(column.piecewise.means)
                value = ops.take(known, [index], axis=1)
                shares = ops.clip((value - _row(edges[:-1])) / _row(np.diff(edges)), 0.0, 1.0)
                shares = ops.where(ops.take(missing, [index], axis=1), 0.0, shares - _row(means))
                self._put(shares, range(at, at + len(means)))
        if any(clip is not None for clip in clips):
            lower = _row([-np.inf if clip is None else clip.lower for clip in clips])
            upper = _row([np.inf if clip is None else clip.upper for clip in clips])
            clipped = ops.minimum(ops.maximum(known, lower), upper)
            known = ops.where(missing, fill, clipped)
        scaled = (known - _row([c.center for c in columns])) / _row([c.divisor for c in columns])
        for index, column in enumerate(columns):
            value = ops.take(scaled, [index], axis=1) if len(columns) > 1 else scaled
            if column.quantiles is not None:
                value = _interpolated(value, column.quantiles.values, column.quantiles.scores)
            if column.smooth_clip is not None:
                value = value / ops.sqrt(1.0 + ops.square(value / column.smooth_clip))
            if column.quantiles is not None or column.smooth_clip is not None:
                self._put(value, [starts[index]])
        plain = [
            index
            for index, column in enumerate(columns)
            if column.quantiles is None and column.smooth_clip is None
        ]
        if plain:
            self._put(ops.take(scaled, plain, axis=1), [starts[index] for index in plain])
        marked = [index for index, column in enumerate(columns) if column.indicator]
        if marked:
            marks = ops.take(ops.cast(missing, "float32"), marked, axis=1)
            self._put(marks, [starts[index] + 1 for index in marked])

    def _put_booleans(self, columns: Sequence[BooleanColumn]) -> None:
        parts = [self._tensors[column.name] for column in columns]
        values = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)
        known = ops.logical_or(ops.equal(values, 0.0), ops.equal(values, 1.0))
        missing = ops.logical_not(known)
        self._unseen.append(ops.logical_and(missing, ops.logical_not(ops.isnan(values))))
        fill = _row([0.0 if c.has_missing_level else float(c.fill) for c in columns])
        self._put(ops.where(missing, fill, values), [self._starts[c.name] for c in columns])
        marked = [index for index, column in enumerate(columns) if column.has_missing_level]
        if marked:
            marks = ops.take(ops.cast(missing, "float32"), marked, axis=1)
            self._put(marks, [self._starts[columns[index].name] + 1 for index in marked])

    def _put_date(self, column: DatetimeColumn) -> None:
        seconds, start = self._tensors[column.name], self._starts[column.name]
        infinite = ops.isinf(seconds)
        self._unseen.append(infinite)
        missing = ops.logical_or(infinite, ops.isnan(seconds))
        dates = Dates(ops.where(missing, 0.0, seconds))
        for part in column.numbers:
            days = dates.elapsed(column) if part is column.elapsed else dates.yearday()
            self._put_numbers([part], [start], days, missing)
            start += len(part.features)
        known = ops.cast(ops.logical_not(missing), "float64")
        for cycle in column.cycles:
            angle = (2 * np.pi) * dates.cycle_position(cycle)
            waves = ops.concatenate([ops.sin(angle) * known, ops.cos(angle) * known], axis=1)
            self._put(waves, [start, start + 1])
            start += 2
        for calendar in column.calendar:
            values = np.array([calendar.values], np.int64)
            hits = (
                ops.cast(ops.equal(dates.calendar_value(calendar.part), values), "float64") * known
            )
            self._put(hits, range(start, start + len(calendar.values)))
            start += len(calendar.values)
        if column.dates is not None:
            days, means = column.dates.days, column.dates.means
            table = means.encode(np.array([*range(len(days)), -1]))
            hits = ops.cast(ops.equal(dates.day(), np.array([days], np.int64)), "float64") * known
            # A day that is not known has no hit, and the last row.
            rest = 1.0 - ops.sum(hits, axis=1, keepdims=True)
            encoded = ops.matmul(hits, table[:-1]) + rest * table[-1:]
            self._put(encoded, range(start, start + table.shape[1]))

    def _put_category(self, column: CategoricalColumn, index: int) -> None:
        number = self._level(column, index)
        self._unseen.append(number >= column.distinct_levels)
        codes = number_codes(column)
        if column.encode == "embedding":
            self._ids.append(ops.take(codes.astype(np.int32) + 1, number))
            return
        if column.encode == "ordinal":
            levels = ordinal_values(column, codes)[:, None]
        else:
            levels = codes[:, None] == np.arange(column.codes)
        table = np.hstack([levels, *number_target_means(column)]).astype(np.float32)
        start = self._starts[column.name]
        rows = ops.take(table, ops.squeeze(number, axis=1), axis=0)
        self._put(rows, range(start, start + table.shape[1]))

    def _level(self, column: CategoricalColumn, index: int) -> Any:
        """Return the number of the level of each cell, int64 (rows, 1)."""
        missing = self._missing[column.name]
        keys = level_keys(column, missing)
        levels = column.distinct_levels
        name = f"{self._label}_column_{index}"
        cells = self._tensors[column.name]
        if column.ignore_case:
            empty = keys.pop("", levels)
            lookup = keras.layers.TextVectorization(
                standardize="lower", split=None, output_mode="int", vocabulary=list(keys), name=name
            )
            numbers = [empty, levels, *keys.values()]
        else:
            lookup = keras.layers.StringLookup(
                vocabulary=list(keys), mask_token=None, oov_token=_OOV, num_oov_indices=1, name=name
            )
            numbers = [levels, *keys.values()]
        return ops.take(np.array(numbers, np.int64), ops.reshape(lookup(cells), (-1, 1)))

    def _terms(self, column: TextColumn, first: int) -> Any:
        pairs = self._tensors[column.name]
        ids, weights = ops.take(pairs, [0], axis=2), ops.take(pairs, [1], axis=2)
        unknown = ops.take(ops.squeeze(ids, axis=2), [0], axis=1) < 0.0
        self._unseen.append(unknown)
        ids = ops.maximum(ids, 0.0)
        if first:
            ids = ids + ops.cast(ids > 0.0, "float32") * float(first)
        return ops.concatenate([ids, weights], axis=2)


def _row(values: Any) -> Array:
    """Return numbers as float64 (1, n)."""
    return np.asarray(values, np.float64).reshape(1, -1)


def _interpolated(value: Any, xs: Sequence[float], ys: Sequence[float]) -> Any:
    """Return the piecewise-linear function through points, constant outside, of (rows, 1)."""
    points, heights = np.array(xs), np.array(ys)
    if len(points) == 1:
        return ops.zeros_like(value) + float(heights[0])
    shares = ops.clip((value - _row(points[:-1])) / _row(np.diff(points)), 0.0, 1.0)
    return float(heights[0]) + ops.matmul(shares, np.diff(heights)[:, None])
