"""Infer the task, fit the target and check other rows, with row locations in error messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.resolve import ResolvedTargetScale, resolved_head, resolved_target_scale
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import Assignment, RowIndex
from trainer.data.classes import check_classes, count_classes, positive_class
from trainer.data.column_settings import ignores_target_case
from trainer.data.label_lists import fit_labels, labels_text
from trainer.data.number_formats import NumberFormat
from trainer.data.numeric_targets import (
    check_target_range,
    fit_scales,
    fit_transforms,
    read_binary_targets,
    read_target_numbers,
    scale_recommendations,
)
from trainer.data.spellings import natural_sort
from trainer.data.splits import TEST, TRAIN, VALIDATION
from trainer.data.tables import Table
from trainer.data.targets import FittedTarget
from trainer.data.tasks import InferredTask, resolve_task
from trainer.data.text_targets import fit_text_target
from trainer.errors import DataError, Problem
from trainer.task_names import TaskName


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
        has_numbers = TASK_RULES[inferred.task].has_numbers
        if has_numbers:
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

        data = config.data
        if data.split.fold is not None and data.positive is None:
            data = _with_positive(data, inferred.task, frame[targets[0]], training, assignment)
        target = fit_target(part, targets, inferred, data, scales, where)
        if has_numbers and config.data.target_scale == "auto":
            all_rows = np.ones(len(training), dtype=np.bool_)
            values = read_target_numbers(part, targets, all_rows, where, inferred.number_formats)
            advice = tuple(scale_recommendations(values, targets, scales))
    return target, advice


def _with_positive(
    data: Data, task: TaskName, target: pl.Series, training: RowIndex, assignment: Assignment
) -> Data:
    """Return the section with the positive class that all folds share, if one is needed.

    Of two equally frequent classes, either can be the rarer one in the training rows of a fold.

    Args:
        data: The `data` section.
        task: The task.
        target: The target column of all rows.
        training: The training rows.
        assignment: Split code of each row. All folds have the same test rows.
    """
    if not TASK_RULES[task].has_positive_class:
        return data
    ignore_case = ignores_target_case(data)
    known = count_classes(target[training], ignore_case=ignore_case)
    if len(known) != 2:
        return data
    counts = count_classes(
        target.filter(pl.Series(assignment != TEST)).drop_nulls(), ignore_case=ignore_case
    )
    shared = {name: counts.get(name, 0) for name in known}
    positive = positive_class(tuple(natural_sort(list(shared))), shared, None, ignore_case)
    return data.model_copy(update={"positive": positive})


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


def fit_target(
    frame: pl.DataFrame,
    columns: Sequence[str],
    inferred: InferredTask,
    data: Data,
    scales: Sequence[ResolvedTargetScale],
    where: Callable[[int], str],
) -> FittedTarget:
    """Fit the target encoding on the training rows.

    Args:
        frame: The training rows, each with a target.
        columns: The target columns.
        inferred: The task.
        data: The `data` section, for `positive`.
        scales: Scaling of each numeric column; ignored for classes.
        where: Returns the location of a row of the frame, for messages.

    Raises:
        DataError: If there is only one class or number, more than two classes for `binary`, a positive
            class that does not exist, or a value that is not a number or has no logarithm.
    """
    rules = TASK_RULES[inferred.task]
    if data.positive is not None and not rules.has_positive_class:
        has_two = len(columns) == 1 and frame[columns[0]].n_unique() == 2
        raise DataError(
            Problem(
                "",
                "a target with two classes, one of them positive",
                f"task {inferred.task} ({inferred.reason})",
                "remove data.positive" + (", or set data.task to binary" if has_two else ""),
                "data.positive",
            )
        )
    rows, ignore_case = frame.height, ignores_target_case(data)
    make = partial(
        FittedTarget, task=inferred.task, reason=inferred.reason, columns=tuple(columns), rows=rows,
        ignore_case=ignore_case,
    )  # fmt: skip
    if rules.is_exclusive:
        return _fit_classes(make, frame[columns[0]], inferred.task, data)
    if rules.has_text:
        text = fit_text_target(frame[columns[0]], data)
        return make(classes=(), class_counts=(), prior=(), offset=(), scale=(), text=text)
    if rules.has_numbers:
        return _fit_numbers(make, frame.select(columns), inferred.number_formats, scales, where)
    if len(columns) == 1:
        labels = fit_labels(frame[columns[0]], data, ignore_case=ignore_case)
        counts, separator = tuple(labels.values()), data.target_separator
        make = partial(make, classes=tuple(labels), separator=separator)
    else:
        y = read_binary_targets(frame, columns, np.ones(rows, dtype=np.bool_), where)
        counts = tuple(int(count) for count in y.sum(axis=0, dtype=np.float64))
        make = partial(make, classes=())
    prior = tuple(count / rows for count in counts)
    return make(class_counts=counts, prior=prior, offset=(), scale=())


def _fit_classes(
    make: Callable[..., FittedTarget], series: pl.Series, task: TaskName, data: Data
) -> FittedTarget:
    ignore_case = ignores_target_case(data)
    counts = count_classes(series, ignore_case=ignore_case)
    classes = tuple(natural_sort(list(counts)))
    check_classes(task, series.name, counts)
    has_positive_class = TASK_RULES[task].has_positive_class
    if has_positive_class:
        positive = positive_class(classes, counts, data.positive, ignore_case)
        classes = (*(name for name in classes if name != positive), positive)
    class_counts = tuple(counts[name] for name in classes)
    prior = tuple(count / len(series) for count in class_counts)
    if has_positive_class:
        prior = prior[1:]
    return make(classes=classes, class_counts=class_counts, prior=prior, offset=(), scale=())


def _fit_numbers(
    make: Callable[..., FittedTarget],
    frame: pl.DataFrame,
    number_formats: Mapping[str, NumberFormat],
    scales: Sequence[ResolvedTargetScale],
    where: Callable[[int], str],
) -> FittedTarget:
    columns = frame.columns
    all_rows = np.ones(frame.height, dtype=np.bool_)
    values = read_target_numbers(frame, columns, all_rows, where, number_formats)
    is_constant = values.min(axis=0) == values.max(axis=0)
    problems = [
        Problem(
            "",
            f"different numbers in '{name}'",
            "the same number in every row",
            key="data.target",
        )
        for name, same in zip(columns, is_constant, strict=True)
        if same
    ]
    if problems:
        raise DataError(problems)
    transforms = fit_transforms(values, columns, scales, where)
    offset, scale, prior = fit_scales(values, scales, transforms)
    return make(
        classes=(), class_counts=(), prior=prior, offset=offset, scale=scale, transforms=transforms,
        number_formats=dict(number_formats),
    )  # fmt: skip
