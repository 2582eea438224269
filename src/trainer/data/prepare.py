"""Prepare a dataset from a config: read, split, clean, fit.

files ─ open ─► table ─ split ─► assignment ─ drop ─► training rows ─ fit ─► preprocessing
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.resolve import regression_setting, resolved_split_seed
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.config.translation import translates
from trainer.data.arrays import Assignment, BoolArray, Float32Array, RowIndex
from trainer.data.assignment import assign_splits
from trainer.data.dataset import (
    BROKEN_IMAGE,
    DUPLICATE,
    LATER,
    MISSING_VALUE,
    NO_TARGET,
    OUTLIER,
    Dataset,
    count_reasons,
)
from trainer.data.diagnostics import target_diagnostics
from trainer.data.features import feature_columns, split_column, target_columns
from trainer.data.fitting import ColumnFit, fit_columns, no_columns_left_problem
from trainer.data.label_lists import has_lists
from trainer.data.missing_values import count_null_values, null_values_text
from trainer.data.opening import Rows, open_table
from trainer.data.preprocessing import Preprocessing
from trainer.data.pseudonyms import Pseudonyms
from trainer.data.row_checks import check_weights, row_weights, rows_with_target
from trainer.data.row_timestamps import time_notes
from trainer.data.splits import DROPPED, TRAIN
from trainer.data.table_images import (
    broken_images,
    image_feature,
    standardized,
    with_image_contents,
)
from trainer.data.tables import Table
from trainer.data.target_fitting import check_targets, fit_table_target, task_of_table
from trainer.data.target_mean_fitting import fit_target_means
from trainer.data.tasks import task_columns_problem
from trainer.data.text_targets import (
    check_sources,
    fit_text_columns,
    source_problem,
    with_source_groups,
)
from trainer.errors import DataError, pluralize


def prepare(config: Config, *, streamed: bool = False) -> Dataset:
    """Prepare a dataset: read, split, clean and fit.

    Args:
        config: Its `data.source` paths are absolute, or relative to the working directory.
        streamed: Whether to leave the features on disk, which `config.streaming_conflicts` must allow.
            The result is the same, except for rounding and, beyond a million values, sampled quantiles
            (`trainer.data.sketches`).

    Raises:
        DataError: If there are problems with files, columns, values or splits; lists all of them.
        StorageError: If there is not enough disk space for the encoded rows.
    """
    data = config.data
    source = open_table(data, streamed=streamed)
    names = validated_features(source.header, data)

    def fit(table: Table, assignment: Assignment) -> ColumnFit:
        return fit_columns(source, table, names, assignment == TRAIN, data)

    dataset = split_and_fit(config, source, names, fit)
    dataset.check_free_space(len(dataset.assignment))
    return dataset


def validated_features(table: Table, data: Data) -> list[str]:
    """Return the feature columns of a table; its rows are not used.

    Raises:
        DataError: If columns named in the config are missing, or do not fit the task.
    """
    names, problems = feature_columns(table, data)
    if data.task != "auto":
        problem = task_columns_problem(data.task, target_columns(data))
        problems += [problem] if problem is not None else []
        problem = source_problem(data, names) if not problems else None
        problems += [problem] if problem is not None else []
    if problems:
        raise DataError(problems)
    return names


@dataclass(frozen=True, slots=True)
class _SplitTable:
    """The split of each row, and the columns that it depends on.

    Attributes:
        table: The targets, weights, images and the column that the split is by.
        assignment: The split code of each row.
        reasons: Why each row is dropped; see `Dataset`.
        weight: The weight of each row, or None.
        broken: Lines about the rows that are dropped for a broken image.
    """

    table: Table
    assignment: Assignment
    reasons: Assignment
    weight: Float32Array | None
    broken: Sequence[str]


def split_and_fit(
    config: Config,
    source: Rows,
    names: Sequence[str],
    fit: Callable[[Table, Assignment], ColumnFit],
) -> Dataset:
    """Assign each row to a split, and fit features and target on the training rows.

    Args:
        config: The config.
        source: All rows.
        names: The feature columns.
        fit: Fits the features, given a table to locate rows and the split code of each row.

    Raises:
        DataError: If there are problems with values or splits.
    """
    data = with_source_groups(config.data, names)
    config = config.model_copy(update={"data": data})
    targets = target_columns(data)
    split = _split_table(config, source, names)
    table, assignment, reasons = split.table, split.assignment, split.reasons
    inferred = task_of_table(table, config, targets, np.flatnonzero(assignment == TRAIN))
    assumptions = (*time_notes(table.frame, data, names), *inferred.notes)
    columns = fit(table, assignment)
    _drop(assignment, reasons, columns.missing, MISSING_VALUE)
    _drop(assignment, reasons, columns.outlier_rows, OUTLIER)
    target, advice = fit_table_target(table, config, targets, inferred, columns.rows, assignment)
    fitted = columns.columns
    if target.text is not None:
        fitted, text = fit_text_columns(source, fitted, target.text, table, columns.rows, data)
        target = target.model_copy(update={"text": text})
    unknown = check_targets(table, target, assignment)
    encoded, omitted = fit_target_means(source, fitted, table, target, assignment == TRAIN, data)
    encoded = standardized(encoded, table, assignment == TRAIN, data)
    if columns.columns and not encoded:
        raise DataError(no_columns_left_problem(table))
    values = table.frame[targets[0]].gather(columns.rows)
    diagnostics = target_diagnostics(target, inferred, values, data)
    has_classes = TASK_RULES[target.task].has_classes
    dropped = _dropped_lines(table, targets, reasons, has_classes=has_classes)
    warnings = (*split.broken, *assumptions, *columns.warnings, *diagnostics.warnings, *unknown)
    return Dataset(
        source=source,
        table=table,
        assignment=assignment,
        reasons=reasons,
        preprocessing=Preprocessing(
            rows=len(columns.rows),
            columns=encoded,
            target=target,
            pseudonym_key=Pseudonyms.from_settings(data).fingerprint(),
        ),
        warnings=(*table.warnings, *dropped, *warnings, *advice),
        weight=split.weight,
        notes=(*columns.notes, *omitted, *diagnostics.notes),
        hints=(*columns.hints, *diagnostics.hints),
    )


def _split_table(config: Config, source: Rows, names: Sequence[str]) -> _SplitTable:
    """Assign each row with a target and an image that is not broken to a split.

    Raises:
        DataError: If there are problems with targets, weights, images or splits.
    """
    data = config.data
    targets, image = target_columns(data), image_feature(data, names)
    sources = names if translates(data) else ()
    keys = dict.fromkeys([*targets, data.weight, split_column(data), image, *sources])
    table = source.read_columns([name for name in keys if name is not None])
    has_target = _rows_with_target(table, targets, data)
    if translates(data):
        check_sources(table, names[0], has_target)
    weight = None if data.weight is None else row_weights(table, data.weight, has_target)
    broken, broken_lines = np.zeros_like(has_target), list[str]()
    if image is not None and data.image.broken == "drop":
        broken, broken_lines = broken_images(table, image, data)
    assignment, reasons = _split_rows(table, config, names, has_target & ~broken)
    reasons[has_target & broken] = BROKEN_IMAGE
    if weight is not None:
        check_weights(table, weight, assignment)
    return _SplitTable(table, assignment, reasons, weight, broken_lines)


def _rows_with_target(table: Table, targets: Sequence[str], data: Data) -> BoolArray:
    """Return a mask of the rows with a target; all rows decide whether its cells are lists."""
    may_be_listed = data.task == "auto" or TASK_RULES[data.task].has_several_labels
    has_label_lists = may_be_listed and has_lists(table.frame[targets[0]], data)
    return rows_with_target(table, targets, data, has_label_lists=has_label_lists)


def _split_rows(
    table: Table, config: Config, names: Sequence[str], has_target: BoolArray
) -> tuple[Assignment, Assignment]:
    """Return the split code of each row, and why it is dropped; see `Dataset`."""
    data, targets = config.data, target_columns(config.data)
    if data.task == "auto" and regression_setting(config) is not None:
        task = task_of_table(table, config, targets, np.flatnonzero(has_target)).task
        data = data.model_copy(update={"task": task})
    assignment = assign_splits(table, data, resolved_split_seed(config), has_target)
    reasons = np.zeros_like(assignment)
    reasons[~has_target] = NO_TARGET
    reasons[has_target & (assignment == DROPPED)] = LATER
    if data.clean.duplicates == "drop":
        image = image_feature(data, names)
        content = table if image is None else with_image_contents(table, image, data)
        _drop(assignment, reasons, _duplicates(content, [*names, *targets], assignment), DUPLICATE)
    return assignment, reasons


def _dropped_lines(
    table: Table, targets: Sequence[str], reasons: Assignment, *, has_classes: bool
) -> list[str]:
    """Return a line with the number of dropped rows for each reason."""
    counts = count_reasons(reasons)
    lines = [f"{pluralize(count, 'row')} dropped: {reason}" for reason, count in counts.items()]
    if has_classes and (reasons == NO_TARGET).any():
        null_counts = sum(count_null_values(table, targets).values(), Counter[str]())
        if null_counts:
            # NO_TARGET is the first reason, so that its line is the first.
            lines[0] += f" ({null_values_text(null_counts)}: see data.csv.null_values)"
    return lines


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
