"""The task, inferred from the values of the target.

The rules of `data.task: auto`, in order:

    one column, every cell a list of labels      multilabel
    several columns, every one yes/no            multilabel
    several columns, every one numbers           regression
    kind: categorical, two values                binary
    kind: categorical, more values               multiclass
    text or true/false, two values               binary
    text, more values                            multiclass
    numbers, two values, both integers           binary
    numbers, some not integers                   regression
    integers, at most 20 values and at           multiclass
      most one value per 10 rows
    other integers                               regression

Text counts as numbers if all of it is numbers in one format ("$1,234", "12%").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from trainer.config.data import Data
from trainer.config.resolve import regression_setting
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.data.column_kinds import count_dates
from trainer.data.column_settings import explicit_kind, ignores_target_case
from trainer.data.date_formats import DateFormatDetector
from trainer.data.label_lists import has_lists
from trainer.data.message_lists import quoted
from trainer.data.number_formats import (
    MANY_FORMATTED_NUMBERS,
    DetectedNumbers,
    NumberFormat,
    NumberFormatDetector,
    parse_number_columns,
    parse_numbers,
)
from trainer.data.spellings import casefold_level
from trainer.data.text_formats import MAX_UNITS, explicit_decimal, numbers_note
from trainer.data.values import is_date_type, is_nested, level_text, number_expr, parse_booleans
from trainer.errors import DataError, Problem
from trainer.task_names import TaskName

MAX_CLASSES = 20
ROWS_PER_CLASS = 10
_LIKELY_CLASSES = 100
"""Up to this many distinct integers, with enough rows of each, may be classes."""


@dataclass(frozen=True, slots=True)
class InferredTask:
    """The task, and the reason for it.

    Attributes:
        task: The task.
        reason: A short explanation.
        alternative: Another plausible task; None if there is little doubt.
        number_formats: The number formats of target columns that are not plain numbers.
        notes: Assumptions about these formats.
    """

    task: TaskName
    reason: str
    alternative: TaskName | None = None
    number_formats: Mapping[str, NumberFormat] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def resolve_task(frame: pl.DataFrame, config: Config) -> InferredTask:
    """Return the task that the config sets, or the task inferred from the target values.

    Integers that could be classes are numbers if a setting requires numbers, such as a count loss.

    Args:
        frame: The target columns, without rows that have no target.
        config: The config.

    Raises:
        DataError: See `infer_task`.
    """
    data = config.data
    if data.task != "auto":
        return _explicit_task(frame, data.task, "set by data.task", data)
    inferred = infer_task(frame, data)
    setting = regression_setting(config)
    if setting is None or inferred.task != "multiclass":
        return inferred
    numeric = _explicit_task(frame, "regression", f"{setting} requires numbers", data)
    series = parse_number_columns(frame, numeric.number_formats).to_series()
    numbers = _plain_numbers(series)
    return inferred if numbers.null_count() > frame.to_series().null_count() else numeric


def _explicit_task(frame: pl.DataFrame, task: TaskName, reason: str, data: Data) -> InferredTask:
    """Return a task that is not inferred, with the number formats of its target columns."""
    if not TASK_RULES[task].has_numbers:
        return InferredTask(task, reason)
    detected = {series.name: _detect_numbers(series, data) for series in frame}
    formats = {
        name: numbers.best_format
        for name, numbers in detected.items()
        if numbers is not None and numbers.example
    }
    return InferredTask(task, reason, number_formats=formats, notes=_notes(frame, detected, data))


def infer_task(frame: pl.DataFrame, data: Data | None = None) -> InferredTask:
    """Infer the task from the target values.

    Args:
        frame: The target columns, without rows that have no target.
        data: The `data` section, which may set the formats of numbers and lists, and whether case is
            ignored.

    Raises:
        DataError: If several columns are neither all yes/no nor all numbers, or the values are dates
            or almost all numbers.
    """
    if frame.width > 1:
        return _several(frame, data)
    series = frame.to_series()
    if data is not None and has_lists(series, data):
        return InferredTask("multilabel", f"'{series.name}' has lists of labels")
    if is_nested(series.dtype):
        found = f"values of type {series.dtype} in '{series.name}'"
        fix = "split them into columns, and name these in data.target"
        raise DataError(_problem("classes, numbers or lists of labels", found, fix))
    if is_date_type(series.dtype):
        raise DataError(
            _problem("classes or numbers", f"dates in '{series.name}'", "convert them to numbers")
        )
    if data is not None and explicit_kind(data, series.name) == "categorical":
        task = task_of_classes(level_text(series).n_unique())
        return InferredTask(task, f"'{series.name}' is categorical")
    numbers = _plain_numbers(series)
    detected = _detect_numbers(series, data, numbers)
    if detected is not None and detected.format is not None:
        plain = pl.DataFrame({series.name: parse_numbers(series, detected.format)})
        inferred = infer_task(plain)
        if inferred.task == "regression":
            return replace(
                inferred,
                number_formats={series.name: detected.format},
                notes=_notes(frame, {series.name: detected}, data),
            )
        return inferred
    _check_text(series, detected)
    levels = level_text(series).drop_nulls().unique()
    ignore_case = data is not None and ignores_target_case(data)
    distinct = len(set(map(casefold_level, levels))) if ignore_case else len(levels)
    known = len(series) - series.null_count()
    parsed = known - (numbers.null_count() - series.null_count())
    if series.dtype == pl.Boolean or parsed < known:
        if series.dtype == pl.String and parsed >= 0.9 * known and distinct > MAX_CLASSES:
            invalid = series.filter(numbers.is_null() & series.is_not_null())
            fix = "correct it, add it to data.csv.null_values, or set data.task"
            raise DataError(_problem(f"numbers in '{series.name}'", f"'{invalid[0]}'", fix))
        values = (
            "true and false" if series.dtype == pl.Boolean else f"{distinct} distinct text values"
        )
        return InferredTask(task_of_classes(distinct), f"'{series.name}' has {values}")
    return _infer_from_numbers(numbers, known, distinct)


def task_of_classes(count: int) -> TaskName:
    """Return the task of a target with this many classes, one in each row."""
    return "binary" if count <= 2 else "multiclass"


def _infer_from_numbers(numbers: pl.Series, known: int, distinct: int) -> InferredTask:
    """Infer the task from a column of plain numbers.

    Args:
        numbers: The numbers.
        known: How many there are.
        distinct: How many distinct ones.
    """
    name = numbers.name
    if not bool((numbers.drop_nulls() == numbers.drop_nulls().round()).all()):
        return InferredTask("regression", f"'{name}' has numbers with fractions")
    if distinct <= 2:
        return InferredTask("binary", f"'{name}' has {distinct} distinct integers")
    if distinct <= MAX_CLASSES and distinct * ROWS_PER_CLASS <= known:
        reason = f"'{name}' has only {distinct} distinct integers in {known:,} rows"
        return InferredTask("multiclass", reason, "regression")
    reason = f"'{name}' has {distinct:,} distinct integers in {known:,} rows"
    is_like_classes = distinct <= MAX_CLASSES or (
        distinct <= _LIKELY_CLASSES and distinct * ROWS_PER_CLASS <= known
    )
    return InferredTask("regression", reason, "multiclass" if is_like_classes else None)


def is_formatted_number(series: pl.Series, data: Data) -> bool:
    """Return whether the cells of a text target are formatted numbers such as `1.234,5` or `$5`."""
    detected = _detect_numbers(series, data)
    return detected is not None and detected.format is not None


def _plain_numbers(series: pl.Series) -> pl.Series:
    return series.to_frame().select(number_expr(series.name, series.dtype)).to_series()


def _detect_numbers(
    series: pl.Series, data: Data | None, plain: pl.Series | None = None
) -> DetectedNumbers | None:
    """Detect the number format of a text target; None if it is plain or the target is categorical.

    Args:
        series: The target.
        data: The `data` section.
        plain: Its plain numbers, if they are known.
    """
    if series.dtype != pl.String:
        return None
    plain = _plain_numbers(series) if plain is None else plain
    is_class = data is not None and explicit_kind(data, series.name) == "categorical"
    if is_class or plain.null_count() == series.null_count():
        return None
    detector = NumberFormatDetector()
    detector.add(series)
    return detector.detect(None if data is None else explicit_decimal(data, series.name))


def _notes(
    frame: pl.DataFrame, detected: Mapping[str, DetectedNumbers | None], data: Data | None
) -> tuple[str, ...]:
    """Return the assumptions about text target columns."""
    is_class = frame.width == 1 and _may_be_classes(frame.to_series())
    return tuple(
        str(numbers_note(name, numbers, keep="data.task: multiclass" if is_class else ""))
        for name, numbers in detected.items()
        if numbers is not None
        and numbers.format is not None
        and (data is None or explicit_decimal(data, name) is None)
    )


def _may_be_classes(series: pl.Series) -> bool:
    """Return whether every value occurs twice: one row cannot be in both training and test."""
    known = series.drop_nulls()
    return len(known) > 0 and not known.is_unique().any()


def _check_text(series: pl.Series, detected: DetectedNumbers | None) -> None:
    """Reject text that is a number or a date in most rows, which would make each a separate class.

    Raises:
        DataError: If the target is such text.
    """
    if detected is None:
        return
    is_class, distinct = _may_be_classes(series), series.drop_nulls().n_unique()
    if distinct <= MANY_FORMATTED_NUMBERS or (is_class and distinct <= MAX_CLASSES):
        return
    name, task = series.name, ", or set data.task: multiclass" * is_class
    if detected.units and detected.distinct > MANY_FORMATTED_NUMBERS:
        units = quoted(detected.units, MAX_UNITS)
        found = f"numbers with the units {units}"
        if len(detected.units) == 1:
            found = f"numbers with the unit {units} in some rows and no unit in others"
        fix = f"write them in one unit{task}"
        raise DataError(_problem(f"numbers in one unit in '{name}'", found, fix))
    if detected.example and detected.is_close:
        unmatched, example = quoted(detected.unmatched), detected.example
        found = f"{unmatched} among {detected.matched:,} numbers such as '{example}'"
        pronoun = "it" if detected.known - detected.matched == 1 else "them"
        fix = f"correct {pronoun}, or add {pronoun} to data.csv.null_values{task}"
        raise DataError(_problem(f"numbers in '{name}'", found, fix))
    dates = DateFormatDetector()
    dates.add(series)
    if dates.detect().formats or count_dates(series) == detected.known:
        found = f"dates in '{name}', such as '{series.drop_nulls()[0]}'"
        fix = f"convert them to numbers, such as days{task}"
        raise DataError(_problem("classes or numbers", found, fix))


def _several(frame: pl.DataFrame, data: Data | None) -> InferredTask:
    if all(
        parse_booleans(series, accept_marks=True).null_count() == series.null_count()
        for series in frame
    ):
        return InferredTask("multilabel", f"{frame.width} target columns, all yes/no")
    detected = {series.name: _detect_numbers(series, data) for series in frame}
    formats = {
        name: numbers.format
        for name, numbers in detected.items()
        if numbers is not None and numbers.format is not None
    }
    plain = parse_number_columns(frame, formats)
    schema = plain.schema
    invalid = [
        name
        for name in frame.columns
        if plain.select(number_expr(name, schema[name])).to_series().null_count()
        > frame[name].null_count()
    ]
    if not invalid:
        reason = f"{frame.width} target columns, all numbers"
        notes = _notes(frame, detected, data)
        return InferredTask("regression", reason, number_formats=formats, notes=notes)
    raise DataError(
        _problem(
            "target columns that are all yes/no or all numbers",
            "other values in " + ", ".join(f"'{name}'" for name in invalid[:5]),
            "use one column with classes, or remove these columns",
        )
    )


def _problem(expected: str, found: str, fix: str) -> Problem:
    return Problem("", expected, found, fix, "data.target")


def task_columns_problem(task: TaskName, columns: Sequence[str]) -> Problem | None:
    """Return the problem with a task that does not allow this many target columns, or None."""
    if TASK_RULES[task].is_exclusive and len(columns) > 1:
        return Problem(
            "",
            f"one target column for task: {task}",
            f"{len(columns)} columns",
            "use one column, or set data.task to multilabel or regression",
            "data.target",
        )
    return None
