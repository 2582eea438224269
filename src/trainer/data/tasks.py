"""What is predicted: the task, from the values of the target.

The rule of `data.task: auto`, in its order:

    several columns, every one yes/no            multilabel
    several columns, every one numbers           regression
    text or true/false, two values               binary
    text, more values                            multiclass
    numbers, two values, both whole              binary
    numbers, some not whole                      regression
    whole numbers, at most 20 values and at      multiclass
      most one value per 10 rows
    other whole numbers                          regression
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from trainer.config.data import Data, Task
from trainer.config.resolve import number_setting
from trainer.config.schema import Config
from trainer.data.values import boolean, folded, is_dated, level_text, number
from trainer.errors import DataError, Problem

MOST_CLASSES = 20
ROWS_PER_CLASS = 10
_LIKELY_CLASSES = 100
"""Up to this many whole numbers, with enough rows of each, can be classes."""


@dataclass(frozen=True, slots=True)
class TaskFinding:
    """The task and why.

    Attributes:
        task: What is predicted.
        reason: Why, in a few words.
        otherwise: The task that it could as well be; None where there is little doubt.
    """

    task: Task
    reason: str
    otherwise: Task | None = None


def folds_case(data: Data) -> bool:
    """Whether classes of the target that differ in case only are one."""
    return isinstance(data.target, str) and bool(
        data.target in data.columns and data.columns[data.target].fold_case
    )


def find_task(frame: pl.DataFrame, config: Config) -> TaskFinding:
    """The task that a config states or its target values stand for.

    Whole numbers that could be classes are numbers where a setting is for numbers, as a loss of counts.

    Args:
        frame: The target columns, rows without a target left out.
        config: The config.

    Raises:
        DataError: As `infer_task`.
    """
    if config.data.task != "auto":
        return TaskFinding(config.data.task, "stated as data.task")
    finding = infer_task(frame, fold_case=folds_case(config.data))
    setting = number_setting(config)
    if setting is None or finding.task != "multiclass":
        return finding
    series = frame.to_series()
    numbers = frame.select(number(series.name, series.dtype)).to_series()
    if numbers.null_count() > series.null_count():
        return finding
    return TaskFinding("regression", f"{setting} is for numbers")


def infer_task(frame: pl.DataFrame, *, fold_case: bool = False) -> TaskFinding:
    """The task that target values stand for.

    Args:
        frame: The target columns, rows without a target left out.
        fold_case: Whether words that differ in case only are one class.

    Raises:
        DataError: Several columns that are neither all yes/no nor all numbers; dates; values of
            which almost all are numbers.
    """
    if frame.width > 1:
        return _several(frame)
    series = frame.to_series()
    if is_dated(series.dtype):
        raise DataError(
            _problem("classes or numbers", f"dates in '{series.name}'", "Turn them into numbers.")
        )
    words = level_text(series).drop_nulls().unique()
    distinct = len(set(map(folded, words))) if fold_case else len(words)
    numbers = frame.select(number(series.name, series.dtype)).to_series()
    known = len(series) - series.null_count()
    parsed = known - (numbers.null_count() - series.null_count())
    if series.dtype == pl.Boolean or parsed < known:
        if series.dtype == pl.String and parsed >= 0.9 * known and distinct > MOST_CLASSES:
            wrong = series.filter(numbers.is_null() & series.is_not_null())
            fix = "correct it, add it to data.csv.null_values, or state data.task"
            raise DataError(_problem(f"numbers in '{series.name}'", f"'{wrong[0]}'", fix))
        task: Task = "binary" if distinct <= 2 else "multiclass"
        what = (
            "true and false" if series.dtype == pl.Boolean else f"{distinct} values that are words"
        )
        return TaskFinding(task, f"'{series.name}' has {what}")
    whole = bool((numbers.drop_nulls() == numbers.drop_nulls().round()).all())
    if not whole:
        return TaskFinding("regression", f"'{series.name}' has numbers with fractions")
    if distinct <= 2:
        return TaskFinding("binary", f"'{series.name}' has {distinct} whole numbers")
    if distinct <= MOST_CLASSES and distinct * ROWS_PER_CLASS <= known:
        reason = f"'{series.name}' has only {distinct} whole numbers in {known:,} rows"
        return TaskFinding("multiclass", reason, "regression")
    reason = f"'{series.name}' has {distinct:,} different whole numbers in {known:,} rows"
    is_like_classes = distinct <= MOST_CLASSES or (
        distinct <= _LIKELY_CLASSES and distinct * ROWS_PER_CLASS <= known
    )
    return TaskFinding("regression", reason, "multiclass" if is_like_classes else None)


def _several(frame: pl.DataFrame) -> TaskFinding:
    if all(boolean(series, marks=True).null_count() == series.null_count() for series in frame):
        return TaskFinding("multilabel", f"{frame.width} target columns, all yes/no")
    schema = frame.schema
    wrong = [
        name
        for name in frame.columns
        if frame.select(number(name, schema[name])).to_series().null_count()
        > frame[name].null_count()
    ]
    if not wrong:
        return TaskFinding("regression", f"{frame.width} target columns, all numbers")
    raise DataError(
        _problem(
            "several target columns that are all yes/no or all numbers",
            "other values in " + ", ".join(f"'{name}'" for name in wrong[:5]),
            "name one column with classes, or leave these out",
        )
    )


def _problem(expected: str, found: str, fix: str) -> Problem:
    return Problem("", expected, found, fix, "data.target")


def task_columns_problem(task: Task, columns: Sequence[str]) -> Problem | None:
    """What is wrong with a stated task and this many target columns, if anything."""
    if task in ("binary", "multiclass") and len(columns) > 1:
        return Problem(
            "",
            f"one target column for task: {task}",
            f"{len(columns)} columns",
            "name one column, or set data.task to multilabel or regression",
            "data.target",
        )
    return None
