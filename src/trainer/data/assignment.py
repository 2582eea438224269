"""Assign rows to splits according to `data.split`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

import numpy as np
import polars as pl

from trainer.config.data import Data, SplitBy
from trainer.config.nodes import column_key
from trainer.config.sections import fold_parts
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import Assignment, BoolArray, RowIndex
from trainer.data.classes import count_classes
from trainer.data.column_settings import ignores_target_case
from trainer.data.features import target_columns
from trainer.data.label_lists import label_sets
from trainer.data.missing_values import no_target_problem
from trainer.data.row_timestamps import row_timestamps
from trainer.data.spellings import canonical_level, case_variants, casefold_level
from trainer.data.splits import (
    DROPPED,
    SPLIT_NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    Fold,
    column_split,
    group_fold,
    random_split,
    stratified_split,
    time_split,
    value_split,
)
from trainer.data.tables import Table
from trainer.data.tasks import infer_task
from trainer.data.values import parse_booleans, to_text
from trainer.errors import DataError, Problem
from trainer.task_names import TaskName


def assign_splits(table: Table, data: Data, seed: int, has_target: BoolArray) -> Assignment:
    """Return the split code of every row, int8 (rows,).

    Codes are TRAIN, VALIDATION, TEST, and DROPPED for rows that have no target or, in a time split, are
    later than the fold.

    Args:
        table: The table; named files for splits take precedence over `data.split`, which only splits off
            validation rows if no file has them.
        data: The `data` section.
        seed: The seed (`resolved_split_seed`).
        has_target: bool (rows,): whether the row has a target.

    Raises:
        DataError: If there are too few rows, classes or groups, a class has one row, a split has no
            rows, or a split column has an invalid value.
    """
    assignment = _assigned(table, data, seed, has_target)
    if data.split.train_on_validation:
        # Only now, so that the test rows are the same as with validation rows.
        assignment[assignment == VALIDATION] = TRAIN
    return assignment


def _assigned(table: Table, data: Data, seed: int, has_target: BoolArray) -> Assignment:
    assignment = np.full(table.frame.height, DROPPED, dtype=np.int8)
    test, validation = data.split.test, data.split.validation
    fold = None if data.split.fold is None else Fold(*fold_parts(data.split.fold))
    rows: RowIndex = np.flatnonzero(has_target)
    if table.source_splits is not None:
        assignment[rows] = table.source_splits[rows]
        _check_named(table, assignment)
        if (table.source_splits == VALIDATION).any() or (validation == 0 and fold is None):
            return assignment
        test, rows = 0.0, np.flatnonzero(assignment == TRAIN)
    if not len(rows):
        raise DataError(no_target_problem(table, target_columns(data)))
    try:
        assignment[rows] = _split(table, data, seed, rows, test, validation, fold)
    except DataError as error:
        raise DataError(table.with_location(error.problems)) from error
    _check_split_sizes(data, assignment, test, validation, fold)
    return assignment


def _split(
    table: Table,
    data: Data,
    seed: int,
    rows: RowIndex,
    test: float,
    validation: float,
    fold: Fold | None,
) -> Assignment:
    by, task = _resolved(table, data, rows)
    if test == 0 and validation == 0 and fold is None and by != "column":
        return np.zeros(len(rows), dtype=np.int8)
    match by:
        case "random":
            return random_split(seed, rows, test, validation, fold)
        case "stratified":
            names, codes = _strata(table.frame.select(target_columns(data))[rows], task, data)
            if fold is not None and test + validation >= 1:
                # Without the fold there is no such split, so no test rows to agree with.
                validation = 0.0
            try:
                return stratified_split(seed, rows, names, codes, test, validation, fold)
            except DataError as error:
                raise _with_case(error, names, data) from error
        case "group":
            series = _split_values(table, data, rows)
            if fold is not None:
                return group_fold(seed, series, test, fold)
            return value_split(seed, series, test, validation)
        case "hash":
            if data.split.column is None:
                return value_split(seed, table.frame[rows], test, validation, fold)
            return value_split(seed, _split_values(table, data, rows), test, validation, fold)
        case "time":
            series = _split_values(table, data, rows)
            when = row_timestamps(series, data, lambda row: table.where(int(rows[row])))
            return time_split(when, test, validation, fold)
        case "column":
            return column_split(_split_values(table, data, rows))
        case "auto":
            raise AssertionError(by)
        case _:
            assert_never(by)


def _resolved(table: Table, data: Data, rows: RowIndex) -> tuple[SplitBy, TaskName | None]:
    """Return how to split, never "auto", and the task if it matters.

    Here the task is inferred from all rows; training infers it from the training rows.
    """
    by = data.split.by
    if by not in ("auto", "stratified"):
        return by, None
    targets = table.frame.select(target_columns(data))[rows]
    task = data.task
    if task == "auto":
        task = infer_task(targets, data).task
    if by == "auto":
        return ("stratified" if TASK_RULES[task].is_exclusive else "random"), task
    if not TASK_RULES[task].has_classes:
        fix = "set data.split.by to random, or set data.task"
        raise DataError(
            Problem("", "classes to split by", "a numeric target", fix, "data.split.by")
        )
    return by, task


def _with_case(error: DataError, names: Sequence[str], data: Data) -> DataError:
    """Return the error with another fix if classes that differ only in case are too small."""
    if not isinstance(data.target, str) or not case_variants(names) or ignores_target_case(data):
        return error
    fix = f"some classes differ only in case: set {column_key(data.target)}.ignore_case: true"
    return DataError(replace(problem, fix=fix) for problem in error.problems)


def _strata(targets: pl.DataFrame, task: TaskName | None, data: Data) -> tuple[list[str], RowIndex]:
    """Return the strata and the stratum of each row: classes, or combinations of labels."""
    ignore_case = ignores_target_case(data)
    has_several_labels = task is not None and TASK_RULES[task].has_several_labels
    if has_several_labels and targets.width == 1:
        sets = label_sets(targets.to_series(), data.target_separator, ignore_case=ignore_case)
        names = sorted(set(sets))
        numbers = {name: number for number, name in enumerate(names)}
        return names, np.array([numbers[name] for name in sets], dtype=np.int64)
    if has_several_labels:
        digits = [
            parse_booleans(series, accept_marks=True).cast(pl.Int8).cast(pl.String)
            for series in targets
        ]
        labels = pl.select(pl.concat_str(digits, ignore_nulls=True)).to_series()
        names = sorted(labels.unique().to_list())
        numbered = labels.replace_strict(names, list(range(len(names))), return_dtype=pl.Int64)
        return names, np.array(numbered.to_numpy())
    series = targets.to_series()
    # Python strings for all rows would take most of the memory.
    cells = to_text(series) if series.dtype.is_float() else series
    levels = cells.unique().drop_nulls()
    key = casefold_level if ignore_case else canonical_level
    spelled = {key(name): name for name in count_classes(series, ignore_case=ignore_case)}
    class_of_level = [spelled[key(name)] for name in to_text(levels).to_list()]
    names = sorted(set(class_of_level))
    codes = pl.Series([names.index(name) for name in class_of_level], dtype=pl.Int32)
    return names, cells.replace_strict(levels, codes, return_dtype=pl.Int32).to_numpy()


def _split_values(table: Table, data: Data, rows: RowIndex) -> pl.Series:
    name = data.split.column
    assert name is not None, data.split
    series = table.frame[name].gather(rows)
    missing = series.is_null()
    if series.dtype.is_float():
        missing |= series.is_nan()
    empty = np.flatnonzero(missing.to_numpy())
    if len(empty):
        raise DataError(
            Problem(
                table.where(int(rows[empty[0]])),
                f"a value in '{name}', the split column",
                f"none{f' here and in {len(empty) - 1:,} more rows' if len(empty) > 1 else ''}",
                "fill it, or remove the rows",
                "data.split.column",
            )
        )
    return series


def _check_named(table: Table, assignment: Assignment) -> None:
    assert table.source_splits is not None
    problems = [
        Problem(
            "",
            f"rows with a target in the files of {SPLIT_NAMES[split]}",
            "none",
            "check the files and the target",
            f"data.source.{SPLIT_NAMES[split]}",
        )
        for split in (TRAIN, VALIDATION, TEST)
        if (table.source_splits == split).any() and not (assignment == split).any()
    ]
    if problems:
        raise DataError(problems)


def _check_split_sizes(
    data: Data, assignment: Assignment, test: float, validation: float, fold: Fold | None
) -> None:
    fractions = {TRAIN: 1.0, VALIDATION: validation if fold is None else 1.0, TEST: test}
    if data.split.by == "column":
        fractions = {TRAIN: 1.0}
    problems = []
    for split, fraction in fractions.items():
        if fraction > 0 and not (assignment == split).any():
            name = SPLIT_NAMES[split]
            fix = {
                "group": "there may be too few groups: try another seed, or split by column",
                "hash": "there may be too few values: try another seed, or split by column",
                "time": "too many rows have the same time: lower the fractions",
                "column": "mark some rows 'train'",
            }
            if fold is not None:
                fix["hash"] = "there may be too few values: use fewer folds"
                fix["time"] = "too many rows have the same time: use fewer folds"
            by = data.split.by
            problems.append(
                Problem(
                    "",
                    f"{name} rows from data.split.by: {by}",
                    "none",
                    fix.get(by, "add rows, or lower the fractions"),
                    "data.split",
                )
            )
    if problems:
        raise DataError(problems)
