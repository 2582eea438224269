"""Infer the task, fit the target and check other rows, with row locations in error messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from trainer.config.resolve import resolved_head, resolved_target_scale
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import Assignment, RowIndex
from trainer.data.label_lists import labels_text
from trainer.data.numeric_targets import (
    check_target_range,
    read_target_numbers,
    scale_recommendations,
)
from trainer.data.splits import TEST, TRAIN, VALIDATION
from trainer.data.tables import Table
from trainer.data.targets import FittedTarget, fit_target
from trainer.data.tasks import InferredTask, resolve_task
from trainer.errors import DataError, Problem


def task_of_table(
    table: Table, config: Config, targets: Sequence[str], rows: RowIndex
) -> InferredTask:
    """Infer the task from the target values of some rows.

    Raises:
        DataError: If they are not a valid target.
    """
    with _with_locations(table):
        return resolve_task(table.frame.select(targets)[rows], config)


def fit_table_target(
    table: Table,
    config: Config,
    targets: Sequence[str],
    inferred: InferredTask,
    training: RowIndex,
    assignment: Assignment,
) -> tuple[FittedTarget, tuple[str, ...]]:
    """Fit the target on the training rows.

    Args:
        table: All rows.
        config: The config.
        targets: The target columns.
        inferred: The task.
        training: The training rows.
        assignment: Split code of each row; the targets of validation rows, too, must be in the range
            of the loss.

    Returns:
        The target, and advice on how to scale it.

    Raises:
        DataError: See `fit_target` and `check_target_range`.
    """
    scales = [resolved_target_scale(config, inferred.task, name) for name in targets]
    frame = table.frame.select(targets)
    advice: tuple[str, ...] = ()
    with _with_locations(table):
        has_classes = TASK_RULES[inferred.task].has_classes
        if not has_classes:
            rows = np.flatnonzero((assignment == TRAIN) | (assignment == VALIDATION))
            head = resolved_head(config, inferred.task)

            def location(row: int) -> str:
                return table.where(int(rows[row]))

            check_target_range(
                frame[rows], targets, config, head, location, inferred.number_formats
            )
        part = frame[training]

        def where(row: int) -> str:
            return table.where(int(training[row]))

        target = fit_target(part, targets, inferred, config.data, scales, where)
        if not has_classes and config.data.target_scale == "auto":
            all_rows = np.ones(len(training), dtype=np.bool_)
            values = read_target_numbers(part, targets, all_rows, where, inferred.number_formats)
            advice = tuple(scale_recommendations(values, targets, scales))
    return target, advice


def check_targets(table: Table, target: FittedTarget, assignment: Assignment) -> tuple[str, ...]:
    """Check that validation and test rows only have classes that occur in training.

    Returns:
        A warning if their lists have labels that do not occur in training.

    Raises:
        DataError: If a row has another class; gives its location.
    """
    problems: list[Problem] = []
    unknown: Counter[str] = Counter()
    for split in (VALIDATION, TEST):
        rows = np.flatnonzero(assignment == split)
        frame = table.frame.select(target.columns)[rows]
        try:
            target.encode(frame, lambda row, rows=rows: table.where(int(rows[row])))  # type: ignore[misc]
            unknown += target.unknown_labels(frame)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(table.with_location(problems))
    if not unknown:
        return ()
    ignored = f"labels in '{target.columns[0]}' that do not occur in training are ignored"
    return (f"{ignored}: {labels_text(unknown)}",)


@contextmanager
def _with_locations(table: Table) -> Iterator[None]:
    """Context manager that adds the table's location to problems."""
    try:
        yield
    except DataError as error:
        raise DataError(table.with_location(error.problems)) from error
