"""What is audited: the rows that take part, their splits, their features as numbers and as levels.

Owns: the kinds of the columns (read leniently: text that is almost all numbers counts as
numbers), the views that checks share. Does not own: reading and the sample (`reading`), splitting, the
checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl

from trainer.config.data import ColumnKind, Data
from trainer.data.arrays import Assignment, BoolArray, Float32Array, Float64Array, RowIndex
from trainer.data.audit.findings import SHOWN
from trainer.data.column_kinds import infer_kinds, unreadable
from trainer.data.features import split_column, target_columns
from trainer.data.nested_columns import nested_problem
from trainer.data.number_formats import parse_number_columns
from trainer.data.prepare import SplitTable
from trainer.data.splits import TRAIN
from trainer.data.tables import Table
from trainer.data.targets import FittedTarget
from trainer.data.text_formats import ParseSpec
from trainer.data.values import is_nested, level_text, number_matrix
from trainer.errors import DataError


@dataclass(frozen=True)
class AuditedTable:
    """A table that is audited.

    Attributes:
        table: Says where a row stands; its frame does not matter.
        frame: All columns of the rows that are looked at.
        rows: Their source rows, in order.
        split: int8 (n,), their split numbers.
        features: The feature columns, in the table's order.
        kinds: The kind of each feature that has training values.
        readings: How each of them is read; numbers in `frame` are numbers already.
        unreadable: bool (n,) of each feature that has values which are not of its kind.
        empty: Features without a training value.
        target: The target, fitted on the training rows.
        y: float32 (n, width), the target as numbers.
        classes: Rows of each class in each split, of all rows; empty for numbers.
        data: The `data` section.
    """

    table: Table
    frame: pl.DataFrame
    rows: RowIndex
    split: Assignment
    features: tuple[str, ...]
    kinds: dict[str, ColumnKind]
    readings: dict[str, ParseSpec]
    unreadable: dict[str, BoolArray]
    empty: tuple[str, ...]
    target: FittedTarget
    y: Float32Array
    classes: dict[str, dict[str, int]]
    data: Data
    _codes: dict[str, RowIndex] = field(default_factory=dict, repr=False)
    _levels: dict[str, RowIndex] = field(default_factory=dict, repr=False)

    @cached_property
    def train(self) -> RowIndex:
        """Where the training rows are."""
        found: RowIndex = np.flatnonzero(self.split == TRAIN)
        return found

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
    def others(self) -> list[str]:
        """Columns that are neither features nor target nor weight, and not what splits."""
        taken = {*self.features, *self.targets, self.data.weight, split_column(self.data)}
        schema = self.frame.schema
        return [name for name in schema if name not in taken and not is_nested(schema[name])]

    @cached_property
    def matrix(self) -> Float64Array:
        """The numeric features, float64 (n, len(numeric)); NaN where there is no number."""
        return number_matrix(self.frame, self.numeric)

    def numbers(self, name: str) -> Float64Array:
        """A column as numbers, float64 (n,)."""
        if name in self.numeric:
            column: Float64Array = self.matrix[:, self.numeric.index(name)]
            return column
        return number_matrix(self.frame, [name])[:, 0]

    def is_numeric(self, name: str) -> bool:
        """Whether a feature is numeric, or every cell of another column a number."""
        if name in self.kinds:
            return self.kinds[name] == "numeric"
        series = self.frame[name]
        if series.dtype != pl.String:
            return series.dtype.is_numeric()
        return int(np.isnan(self.numbers(name)).sum()) == series.null_count() < len(series)

    def codes(self, name: str) -> RowIndex:
        """The level of each row as a number from 0, in the order of the levels; -1 where it misses."""
        if name not in self._codes:
            if self.is_numeric(name):
                values = self.numbers(name)
                known = ~np.isnan(values)
                codes = np.full(len(values), -1, dtype=np.int64)
                codes[known] = np.unique(values[known], return_inverse=True)[1]
            else:
                series = self.frame[name]
                if series.dtype.is_float():
                    series = series.fill_nan(None)
                dense = level_text(series).rank("dense").cast(pl.Int64)
                codes = np.array((dense - 1).fill_null(-1).to_numpy())
            self._codes[name] = codes
        return self._codes[name]

    def levels(self, name: str) -> RowIndex:
        """How many training rows each level has, by its code; missing cells are not counted."""
        if name not in self._levels:
            codes = self.codes(name)
            self._levels[name] = np.bincount(codes[self.train] + 1, minlength=1)[1:]
        return self._levels[name]

    def places(self, at: RowIndex) -> tuple[str, ...]:
        """Where the first few of some rows stand in their files."""
        return tuple(self.table.where(int(self.rows[place])) for place in at[:SHOWN])


def make_audited_table(
    division: SplitTable,
    frame: pl.DataFrame,
    rows: RowIndex,
    features: Sequence[str],
    data: Data,
) -> AuditedTable:
    """The audited view of a table.

    Args:
        division: Its splits and fitted target.
        frame: All columns of the rows that are looked at.
        rows: Their source rows.
        features: The feature columns.
        data: The `data` section.

    Raises:
        DataError: A feature has lists or structures in its cells.
    """
    schema = frame.schema
    nested = [nested_problem(division.table, name, schema[name]) for name in features]
    problems = [problem for problem in nested if problem is not None]
    if problems:
        raise DataError(problems)
    split = division.assignment[rows]
    train: RowIndex = np.flatnonzero(split == TRAIN)
    # The problems that this finds have no place here: its rows are those of the sample.
    finding, _ = infer_kinds(replace(division.table, frame=frame), features, train, data)
    kinds: dict[str, ColumnKind] = {
        name: finding.kinds.get(name, "numeric") for name in features if name not in finding.empty
    }
    readings = {name: finding.readings.get(name, ParseSpec("numeric")) for name in kinds}
    wrong = {}
    for name, reading in readings.items():
        odd = unreadable(frame[name], reading)
        if odd.any():
            wrong[name] = odd
    frame = parse_number_columns(frame, finding.numbers)
    y, _ = division.targets(rows)
    counted = {split: division.classes(split) for split in ("train", "validation", "test")}
    return AuditedTable(
        table=division.table,
        frame=frame,
        rows=rows,
        split=split,
        features=tuple(features),
        kinds=kinds,
        readings=readings,
        unreadable=wrong,
        empty=finding.empty,
        target=division.preprocessing.target,
        y=y,
        classes={
            name: counts
            for name, counts in counted.items()
            if division.rows(name)  # type: ignore[arg-type]
        },
        data=data,
    )
