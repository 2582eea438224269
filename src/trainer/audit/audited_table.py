"""The table to audit: its rows, splits, and features as numbers and as levels.

Column kinds are inferred leniently: a text column that is almost all numbers is numeric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl

from trainer.audit.findings import SHOWN, Affected
from trainer.config.data import ColumnKind, Data
from trainer.data.arrays import Assignment, BoolArray, Float32Array, Float64Array, RowIndex
from trainer.data.column_kinds import unreadable_mask
from trainer.data.column_scan import infer_kinds
from trainer.data.dataset import Dataset
from trainer.data.features import split_column, target_columns
from trainer.data.image_cache import CachedImages
from trainer.data.images import fit_image_column
from trainer.data.nested_columns import nested_problem
from trainer.data.ngrams import clean_text
from trainer.data.number_formats import parse_number_columns
from trainer.data.splits import TRAIN
from trainer.data.tables import Table
from trainer.data.targets import FittedTarget
from trainer.data.text_formats import ParseSpec
from trainer.data.values import is_nested, level_text, number_matrix, to_text
from trainer.errors import DataError


@dataclass(frozen=True)
class AuditedTable:
    """The rows of a table to audit.

    Attributes:
        table: The table, only used for the locations of rows.
        frame: All columns of the audited rows.
        rows: Source rows of the audited rows, in order.
        split: int8 (n,), split numbers.
        features: The feature columns, in the table's order.
        kinds: Kind of each feature with training values.
        parse_specs: How each of these features is parsed; numbers in `frame` are already converted.
        unparsable: Feature → bool (n,), for features with values that do not match their kind.
        empty: Features without training values.
        target: The target, fitted on the training rows.
        y: float32 (n, width), encoded targets.
        classes: Split → class → number of rows, over all rows; empty for regression.
        data: The `data` section.
    """

    table: Table
    frame: pl.DataFrame
    rows: RowIndex
    split: Assignment
    features: tuple[str, ...]
    kinds: dict[str, ColumnKind]
    parse_specs: dict[str, ParseSpec]
    unparsable: dict[str, BoolArray]
    empty: tuple[str, ...]
    target: FittedTarget
    y: Float32Array
    classes: dict[str, dict[str, int]]
    data: Data
    _codes: dict[str, RowIndex] = field(default_factory=dict, repr=False)
    _levels: dict[str, RowIndex] = field(default_factory=dict, repr=False)
    _cleaned: dict[str, list[str]] = field(default_factory=dict, repr=False)

    @cached_property
    def train(self) -> RowIndex:
        """Indices of the training rows."""
        indices: RowIndex = np.flatnonzero(self.split == TRAIN)
        return indices

    @cached_property
    def targets(self) -> tuple[str, ...]:
        return target_columns(self.data)

    @cached_property
    def numeric(self) -> list[str]:
        """The numeric features."""
        return [name for name in self.features if self.kinds.get(name) == "numeric"]

    @cached_property
    def discrete(self) -> list[str]:
        """The categorical and boolean features."""
        kinds = ("categorical", "boolean")
        return [name for name in self.features if self.kinds.get(name) in kinds]

    @cached_property
    def texts(self) -> list[str]:
        """The features that are texts."""
        kinds = ("text", "tokens")
        return [name for name in self.features if self.kinds.get(name) in kinds]

    def cleaned(self, name: str) -> list[str]:
        """Return the texts of a column in lower case, with single blanks; missing ones are empty."""
        if name not in self._cleaned:
            cells = to_text(self.frame[name]).fill_null("").to_list()
            self._cleaned[name] = [clean_text(cell, lowercase=True) for cell in cells]
        return self._cleaned[name]

    @cached_property
    def other_columns(self) -> list[str]:
        """Columns that are neither features, targets, the weight, nor the split column."""
        used = {*self.features, *self.targets, self.data.weight, split_column(self.data)}
        schema = self.frame.schema
        return [name for name in schema if name not in used and not is_nested(schema[name])]

    @cached_property
    def images(self) -> CachedImages | None:
        """The images of the rows; None without a column of images."""
        name = next((name for name in self.features if self.kinds.get(name) == "image"), None)
        if name is None:
            return None
        return fit_image_column(name, self.data.image).load(self.frame[name])

    @cached_property
    def matrix(self) -> Float64Array:
        """The numeric features, float64 (n, len(numeric)); NaN where missing."""
        return number_matrix(self.frame, self.numeric)

    def numbers(self, name: str) -> Float64Array:
        """Return a column as numbers, float64 (n,)."""
        if name in self.numeric:
            column: Float64Array = self.matrix[:, self.numeric.index(name)]
            return column
        return number_matrix(self.frame, [name])[:, 0]

    def is_numeric(self, name: str) -> bool:
        """Return whether a feature is numeric, or all values of another column are numbers."""
        if name in self.kinds:
            return self.kinds[name] == "numeric"
        series = self.frame[name]
        if series.dtype != pl.String:
            return series.dtype.is_numeric()
        return int(np.isnan(self.numbers(name)).sum()) == series.null_count() < len(series)

    def codes(self, name: str) -> RowIndex:
        """Return the level of each row as a number from 0, in sorted order; -1 where missing."""
        if name not in self._codes:
            if self.is_numeric(name):
                values = self.numbers(name)
                is_known = ~np.isnan(values)
                codes = np.full(len(values), -1, dtype=np.int64)
                codes[is_known] = np.unique(values[is_known], return_inverse=True)[1]
            else:
                series = self.frame[name]
                if series.dtype.is_float():
                    series = series.fill_nan(None)
                dense = level_text(series).rank("dense").cast(pl.Int64)
                codes = np.array((dense - 1).fill_null(-1).to_numpy())
            self._codes[name] = codes
        return self._codes[name]

    def levels(self, name: str) -> RowIndex:
        """Return the number of training rows of each level, by code; missing values are not counted."""
        if name not in self._levels:
            codes = self.codes(name)
            self._levels[name] = np.bincount(codes[self.train] + 1, minlength=1)[1:]
        return self._levels[name]

    def affected_columns(self, columns: Sequence[str], count: int | None = None) -> Affected:
        """Return affected columns; `count` defaults to their number."""
        count = len(columns) if count is None else count
        return Affected(self.table.name, tuple(columns), (), count)

    def affected_rows(self, indices: RowIndex, columns: Sequence[str] = ()) -> Affected:
        """Return affected rows, given by their indices, and the columns of the affected cells."""
        rows = tuple(self.table.where(int(self.rows[index])) for index in indices[:SHOWN])
        return Affected(rows[0], tuple(columns), rows, len(indices))


def make_audited_table(
    dataset: Dataset,
    frame: pl.DataFrame,
    rows: RowIndex,
    features: Sequence[str],
    data: Data,
) -> AuditedTable:
    """Return the audited table.

    Args:
        dataset: Splits and fitted target.
        frame: All columns of the audited rows.
        rows: Source rows of the audited rows.
        features: The feature columns.
        data: The `data` section.

    Raises:
        DataError: A feature has lists or structs as values.
    """
    schema = frame.schema
    nested = [nested_problem(dataset.table, name, schema[name]) for name in features]
    problems = [problem for problem in nested if problem is not None]
    if problems:
        raise DataError(problems)
    split = dataset.assignment[rows]
    train: RowIndex = np.flatnonzero(split == TRAIN)
    # Problems are ignored: their row numbers are those of the sample.
    finding, _ = infer_kinds(replace(dataset.table, frame=frame), features, train, data)
    kinds: dict[str, ColumnKind] = {
        name: finding.kinds.get(name, "numeric") for name in features if name not in finding.empty
    }
    parse_specs = {name: finding.parse_specs.get(name, ParseSpec("numeric")) for name in kinds}
    unparsable = {}
    for name, spec in parse_specs.items():
        mask = unreadable_mask(frame[name], spec)
        if mask.any():
            unparsable[name] = mask
    frame = parse_number_columns(frame, finding.number_formats)
    y, _ = dataset.targets(rows)
    class_counts = {split: dataset.classes(split) for split in ("train", "validation", "test")}
    return AuditedTable(
        table=dataset.table,
        frame=frame,
        rows=rows,
        split=split,
        features=tuple(features),
        kinds=kinds,
        parse_specs=parse_specs,
        unparsable=unparsable,
        empty=finding.empty,
        target=dataset.preprocessing.target,
        y=y,
        classes={
            name: counts
            for name, counts in class_counts.items()
            if dataset.rows(name)  # type: ignore[arg-type]
        },
        data=data,
    )
