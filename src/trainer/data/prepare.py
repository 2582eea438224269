"""Prepare a dataset from a config: read, split, clean, fit.

files ─ read ─► table ─ split ─► assignment ─ drop ─► training rows ─ fit ─► preprocessing
                                                              any rows ─ transform ─► samples
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.resolve import regression_setting, resolved_split_seed
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import Assignment, BoolArray, Float32Array, Float64Array, RowIndex
from trainer.data.assignment import assign_splits
from trainer.data.diagnostics import target_diagnostics
from trainer.data.features import feature_columns, target_columns
from trainer.data.fitting import ColumnFit, fit_columns
from trainer.data.label_lists import has_lists
from trainer.data.missing_values import count_null_values, null_values_text
from trainer.data.preprocessing import Preprocessing
from trainer.data.row_checks import check_weights, row_weights, rows_with_target
from trainer.data.row_timestamps import time_notes
from trainer.data.samples import Samples
from trainer.data.splits import DROPPED, SPLIT_NAMES, TEST, TRAIN, VALIDATION, SplitName
from trainer.data.tables import Table, read_table
from trainer.data.target_fitting import check_targets, fit_table_target, task_of_table
from trainer.data.tasks import task_columns_problem
from trainer.data.values import BLOCK_CELLS
from trainer.errors import DataError
from trainer.tasks.registry import get_task_kind

NO_TARGET, DUPLICATE, MISSING_VALUE, OUTLIER, LATER = 1, 2, 3, 4, 5
REASONS = {
    NO_TARGET: "no target",
    DUPLICATE: "duplicate",
    MISSING_VALUE: "missing value",
    OUTLIER: "outlier",
    LATER: "later than the fold",
}
"""Why a row is dropped, by code; 0 is for rows that are not."""


class Dataset(Protocol):
    """A table ready for training, in memory (`InMemoryDataset`) or on disk (`StreamedDataset`)."""

    @property
    def table(self) -> Table:
        """The table; its frame may lack columns that are read when needed."""
        ...

    @property
    def assignment(self) -> Assignment:
        """int8 (rows,): split code, or DROPPED."""
        ...

    @property
    def reasons(self) -> Assignment:
        """int8 (rows,): why a row is dropped, a key of `REASONS`; 0 for the others."""
        ...

    @property
    def preprocessing(self) -> Preprocessing: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def hints(self) -> tuple[str, ...]: ...
    @property
    def dropped(self) -> dict[str, int]:
        """Number of dropped rows by reason."""
        ...

    def rows(self, split: SplitName) -> int:
        """Return the number of rows of a split."""
        ...

    def classes(self, split: SplitName) -> dict[str, int]:
        """Count the rows of each class, or the positive rows of each label, of a split."""
        ...

    def samples(self, split: SplitName) -> Samples | None:
        """Return the encoded rows of a split, always the same object; None if it has no rows."""
        ...

    def release_samples(self) -> None:
        """Free the memory of encoded rows, which are encoded again when needed."""
        ...

    def with_preprocessing(self, preprocessing: Preprocessing) -> Self:
        """Return a copy with another preprocessing."""
        ...

    @property
    def weight(self) -> Float32Array | None:
        """float32 (rows,), the weight column, or None."""
        ...

    def targets(self, rows: RowIndex) -> tuple[Float32Array, BoolArray]:
        """Return the encoded targets of some rows; see `FittedTarget.encode`."""
        ...

    def target_values(self, rows: RowIndex) -> Float64Array | None:
        """Return the regression targets of some rows; see `FittedTarget.values`."""
        ...


@dataclass(frozen=True)
class SplitTable:
    """The split of each row of a table, and the preprocessing fitted on the training rows.

    Attributes:
        table: All rows; at least the target, weight and split columns.
        assignment: int8 (rows,): split code, or DROPPED.
        reasons: int8 (rows,): why a row is dropped, a key of `REASONS`; 0 for the others.
        preprocessing: The fitted preprocessing.
        warnings: Warnings for the user.
        dropped: Number of dropped rows by reason.
        weight: float32 (rows,), the weight column, or None.
        notes: Assumptions, each with the setting that changes it.
        hints: See `Diagnostics.hints`.
    """

    table: Table
    assignment: Assignment
    reasons: Assignment
    preprocessing: Preprocessing
    warnings: tuple[str, ...]
    dropped: dict[str, int]
    weight: Float32Array | None = field(repr=False)
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    hints: tuple[str, ...] = field(default=(), kw_only=True)

    def rows(self, split: SplitName) -> int:
        """Return the number of rows of a split."""
        return int(np.count_nonzero(self.assignment == SPLIT_NAMES.index(split)))

    def classes(self, split: SplitName) -> dict[str, int]:
        """Count the rows of each class, or the positive rows of each label, of a split."""
        target = self.preprocessing.target
        if not TASK_RULES[target.task].has_classes:
            return {}
        rows = np.flatnonzero(self.assignment == SPLIT_NAMES.index(split))
        counts = np.zeros(len(target.names))
        for start in range(0, len(rows), BLOCK_CELLS):
            y, _ = self.targets(rows[start : start + BLOCK_CELLS])
            counts += get_task_kind(target.task).class_totals(y)
        return {name: int(count) for name, count in zip(target.names, counts, strict=True)}

    def targets(self, rows: RowIndex) -> tuple[Float32Array, BoolArray]:
        """Return the encoded targets of some rows; see `FittedTarget.encode`."""
        target = self.preprocessing.target
        return target.encode(self.table.frame.select(target.columns)[rows])

    def with_preprocessing(self, preprocessing: Preprocessing) -> Self:
        """Return a copy with another preprocessing."""
        return replace(self, preprocessing=preprocessing)

    def target_values(self, rows: RowIndex) -> Float64Array | None:
        """Return the regression targets of some rows; see `FittedTarget.values`."""
        target = self.preprocessing.target
        return target.values(self.table.frame.select(target.columns)[rows])


@dataclass(frozen=True)
class InMemoryDataset(SplitTable):
    """A table in memory."""

    _encoded: dict[SplitName, Samples] = field(init=False, default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # A worker that receives the table needs some splits at most, and encodes them itself.
        return {**vars(self), "_encoded": {}}

    def samples(self, split: SplitName) -> Samples | None:
        """Return the encoded rows of a split, always the same object; None if it has no rows."""
        if split not in self._encoded and self.rows(split):
            self._encoded[split] = self._encode(split)
        return self._encoded.get(split)

    def release_samples(self) -> None:
        """Free the memory of encoded rows, which are encoded again when needed."""
        self._encoded.clear()

    def _encode(self, split: SplitName) -> Samples:
        rows = np.flatnonzero(self.assignment == SPLIT_NAMES.index(split))
        has_all_rows = len(rows) == self.table.frame.height
        encoded = self.preprocessing.transform(self.table.frame, None if has_all_rows else rows)
        y, _ = self.targets(rows)
        return Samples(
            x=encoded.x,
            y=y,
            weight=None if self.weight is None else self.weight[rows],
            rows=rows,
            unseen=encoded.unseen,
            warnings=encoded.warnings,
            values=self.target_values(rows),
        )


def prepare(config: Config) -> InMemoryDataset:
    """Prepare a dataset in memory: read, split, clean and fit.

    Args:
        config: Its `data.source` paths are absolute, or relative to the working directory.

    Raises:
        DataError: If there are problems with files, columns, values or splits; lists all of them.
    """
    data = config.data
    table = read_table(data.source, data)
    names = validated_features(table, data)

    def fit(assignment: Assignment) -> ColumnFit:
        return fit_columns(table, names, np.flatnonzero(assignment == TRAIN), data)

    return InMemoryDataset(**vars(split_and_fit(config, table, names, fit)))


def validated_features(table: Table, data: Data) -> list[str]:
    """Return the feature columns of a table; its rows are not used.

    Raises:
        DataError: If columns named in the config are missing, or do not fit the task.
    """
    names, problems = feature_columns(table, data)
    if data.task != "auto":
        problem = task_columns_problem(data.task, target_columns(data))
        problems += [problem] if problem is not None else []
    if problems:
        raise DataError(problems)
    return names


def split_and_fit(
    config: Config, table: Table, names: Sequence[str], fit: Callable[[Assignment], ColumnFit]
) -> SplitTable:
    """Assign each row to a split, and fit features and target on the training rows.

    Args:
        config: The config.
        table: All rows; target, weight and split columns, and the features if duplicates are dropped.
        names: The feature columns.
        fit: Fits the features, given the split code of each row.

    Raises:
        DataError: If there are problems with values or splits.
    """
    data = config.data
    targets = target_columns(data)
    reasons = np.zeros(table.frame.height, dtype=np.int8)
    # All rows decide whether cells are lists, and thereby which rows have a target.
    may_be_listed = data.task == "auto" or TASK_RULES[data.task].has_several_labels
    listed = may_be_listed and has_lists(table.frame[targets[0]], data)
    known = rows_with_target(table, targets, data, listed=listed)
    reasons[~known] = NO_TARGET
    weight = None if data.weight is None else row_weights(table, data.weight, known)
    assignment = _assignment(table, config, targets, known)
    reasons[known & (assignment == DROPPED)] = LATER
    if data.clean.duplicates == "drop":
        _drop(assignment, reasons, _duplicates(table, [*names, *targets], assignment), DUPLICATE)
    if weight is not None:
        check_weights(table, weight, assignment)
    inferred = task_of_table(table, config, targets, np.flatnonzero(assignment == TRAIN))
    assumptions = (*time_notes(table.frame, data, names), *inferred.notes)
    columns = fit(assignment)
    _drop(assignment, reasons, columns.missing, MISSING_VALUE)
    _drop(assignment, reasons, columns.outlier_rows, OUTLIER)
    target, advice = fit_table_target(table, config, targets, inferred, columns.rows, assignment)
    preprocessing = Preprocessing(rows=len(columns.rows), columns=columns.columns, target=target)
    unknown = check_targets(table, target, assignment)
    dropped = _count_reasons(reasons)
    lines = [f"{count:,} rows dropped: {reason}" for reason, count in dropped.items()]
    if not known.all() and TASK_RULES[target.task].has_classes:
        words = sum(count_null_values(table, targets).values(), Counter[str]())
        if words:
            # NO_TARGET is the first reason, so that its line is the first.
            lines[0] += f" ({null_values_text(words)}: see data.csv.null_values)"
    values = table.frame[targets[0]].gather(columns.rows)
    remarks = target_diagnostics(target, inferred, values, data)
    return SplitTable(
        table=table,
        assignment=assignment,
        reasons=reasons,
        preprocessing=preprocessing,
        warnings=(
            *table.warnings,
            *lines,
            *assumptions,
            *columns.warnings,
            *remarks.warnings,
            *unknown,
            *advice,
        ),
        dropped=dropped,
        weight=weight,
        notes=(*columns.notes, *remarks.notes),
        hints=columns.hints,
    )


def split_frame(dataset: Dataset) -> pl.DataFrame:
    """Return the split of every row as a table.

    Its columns are `row` (int64, from 0), `split` (train, validation, test or dropped) and `reason`
    (why it is dropped, otherwise null).
    """
    # An Enum, as 20 million rows of text would take most of a gigabyte.
    names, reasons = [*SPLIT_NAMES, "dropped"], dict(REASONS)
    if not (dataset.reasons == LATER).any():
        # The Enum's categories are stored in the file, whose bytes must not change without folds.
        del reasons[LATER]
    split = pl.Series(dataset.assignment).replace_strict(
        [TRAIN, VALIDATION, TEST, DROPPED], names, return_dtype=pl.Enum(names)
    )
    reason = pl.Series(dataset.reasons).replace_strict(
        list(reasons), list(reasons.values()), default=None, return_dtype=pl.Enum(reasons.values())
    )
    rows = pl.Series(np.arange(len(dataset.assignment), dtype=np.int64))
    return pl.DataFrame({"row": rows, "split": split, "reason": reason})


def _duplicates(table: Table, names: Sequence[str], assignment: Assignment) -> RowIndex:
    """Return the rows that repeat another in these columns; training rows are kept first."""
    rows = np.flatnonzero(assignment != DROPPED)
    rows = rows[np.argsort(assignment[rows], kind="stable")]
    part = table.frame.select(names)[rows]
    first = part.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()
    repeated: RowIndex = rows[~first]
    return repeated


def _drop(assignment: Assignment, reasons: Assignment, rows: RowIndex, reason: int) -> None:
    assignment[rows] = DROPPED
    reasons[rows] = reason


def _assignment(
    table: Table, config: Config, targets: Sequence[str], known: BoolArray
) -> Assignment:
    data = config.data
    if data.task == "auto" and regression_setting(config) is not None:
        task = task_of_table(table, config, targets, np.flatnonzero(known)).task
        data = data.model_copy(update={"task": task})
    return assign_splits(table, data, resolved_split_seed(config), known)


def _count_reasons(reasons: Assignment) -> dict[str, int]:
    counts = {name: int(np.count_nonzero(reasons == code)) for code, name in REASONS.items()}
    return {name: count for name, count in counts.items() if count}
