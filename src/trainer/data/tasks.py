"""What is predicted: the task, from the values of the target.

The rule of `data.task: auto`, in its order:

    one column, every cell a list of labels      multilabel
    several columns, every one yes/no            multilabel
    several columns, every one numbers           regression
    text or true/false, two values               binary
    text, more values                            multiclass
    numbers, two values, both whole              binary
    numbers, some not whole                      regression
    whole numbers, at most 20 values and at      multiclass
      most one value per 10 rows
    other whole numbers                          regression

Text is numbers too where all of it is numbers written in one way ("$1,234", "12%").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from trainer.config.data import Data, TaskName
from trainer.config.resolve import target_scale_key
from trainer.config.schema import Config
from trainer.data.column_kinds import count_dates
from trainer.data.column_settings import explicit_kind, folds_target_case
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
from trainer.data.text_formats import MAX_UNITS, explicit_decimal, numbers_note
from trainer.data.values import (
    casefold_level,
    is_date_type,
    is_nested,
    level_text,
    number,
    parse_booleans,
)
from trainer.errors import DataError, Problem

MAX_CLASSES = 20
ROWS_PER_CLASS = 10
_LIKELY_CLASSES = 100
"""Up to this many whole numbers, with enough rows of each, can be classes."""


@dataclass(frozen=True, slots=True)
class InferredTask:
    """The task and why.

    Attributes:
        task: What is predicted.
        reason: Why, in a few words.
        otherwise: The task that it could as well be; None where there is little doubt.
        numbers: How the numbers of target columns are written, where they are not plain.
        notes: What was assumed of them.
    """

    task: TaskName
    reason: str
    otherwise: TaskName | None = None
    numbers: Mapping[str, NumberFormat] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def resolve_task(frame: pl.DataFrame, config: Config) -> InferredTask:
    """The task that a config states or its target values stand for.

    Whole numbers that could be classes are numbers where a setting is for numbers, as a loss of counts.

    Args:
        frame: The target columns, rows without a target left out.
        config: The config.

    Raises:
        DataError: As `infer_task`.
    """
    data = config.data
    if data.task != "auto":
        return _stated_task(frame, data.task, "stated as data.task", data)
    finding = infer_task(frame, data)
    setting = target_scale_key(config)
    if setting is None or finding.task != "multiclass":
        return finding
    numeric = _stated_task(frame, "regression", f"{setting} is for numbers", data)
    series = parse_number_columns(frame, numeric.numbers).to_series()
    numbers = _plain_numbers(series)
    return finding if numbers.null_count() > frame.to_series().null_count() else numeric


def _stated_task(frame: pl.DataFrame, task: TaskName, reason: str, data: Data) -> InferredTask:
    """A task that is not inferred, with how its numbers are written."""
    if task != "regression":
        return InferredTask(task, reason)
    found = {series.name: _written(series, data) for series in frame}
    numbers = {
        name: reading.nearest
        for name, reading in found.items()
        if reading is not None and reading.example
    }
    return InferredTask(task, reason, numbers=numbers, notes=_notes(frame, found, data))


def infer_task(frame: pl.DataFrame, data: Data | None = None) -> InferredTask:
    """The task that target values stand for.

    Args:
        frame: The target columns, rows without a target left out.
        data: The `data` section, which may say how numbers and lists are written, and whether
            words that differ in case are different.

    Raises:
        DataError: Several columns that are neither all yes/no nor all numbers; dates; values of
            which almost all are numbers.
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
            _problem("classes or numbers", f"dates in '{series.name}'", "Turn them into numbers.")
        )
    numbers = _plain_numbers(series)
    written = _written(series, data, numbers)
    if written is not None and written.format is not None:
        plain = pl.DataFrame({series.name: parse_numbers(series, written.format)})
        finding = infer_task(plain)
        if finding.task == "regression":
            return replace(
                finding,
                numbers={series.name: written.format},
                notes=_notes(frame, {series.name: written}, data),
            )
        return finding
    _check_text(series, written)
    words = level_text(series).drop_nulls().unique()
    ignore_case = data is not None and folds_target_case(data)
    distinct = len(set(map(casefold_level, words))) if ignore_case else len(words)
    known = len(series) - series.null_count()
    parsed = known - (numbers.null_count() - series.null_count())
    if series.dtype == pl.Boolean or parsed < known:
        if series.dtype == pl.String and parsed >= 0.9 * known and distinct > MAX_CLASSES:
            wrong = series.filter(numbers.is_null() & series.is_not_null())
            fix = "correct it, add it to data.csv.null_values, or state data.task"
            raise DataError(_problem(f"numbers in '{series.name}'", f"'{wrong[0]}'", fix))
        task: TaskName = "binary" if distinct <= 2 else "multiclass"
        what = (
            "true and false" if series.dtype == pl.Boolean else f"{distinct} values that are words"
        )
        return InferredTask(task, f"'{series.name}' has {what}")
    whole = bool((numbers.drop_nulls() == numbers.drop_nulls().round()).all())
    if not whole:
        return InferredTask("regression", f"'{series.name}' has numbers with fractions")
    if distinct <= 2:
        return InferredTask("binary", f"'{series.name}' has {distinct} whole numbers")
    if distinct <= MAX_CLASSES and distinct * ROWS_PER_CLASS <= known:
        reason = f"'{series.name}' has only {distinct} whole numbers in {known:,} rows"
        return InferredTask("multiclass", reason, "regression")
    reason = f"'{series.name}' has {distinct:,} different whole numbers in {known:,} rows"
    is_like_classes = distinct <= MAX_CLASSES or (
        distinct <= _LIKELY_CLASSES and distinct * ROWS_PER_CLASS <= known
    )
    return InferredTask("regression", reason, "multiclass" if is_like_classes else None)


def is_formatted_number(series: pl.Series, data: Data) -> bool:
    """Whether the cells of a target of text are numbers written as `1.234,5` or `$5`."""
    written = _written(series, data)
    return written is not None and written.format is not None


def _plain_numbers(series: pl.Series) -> pl.Series:
    return series.to_frame().select(number(series.name, series.dtype)).to_series()


def _written(
    series: pl.Series, data: Data | None, plain: pl.Series | None = None
) -> DetectedNumbers | None:
    """How the numbers of a target of text are written; None where they are plain or not wanted.

    Args:
        series: The target.
        data: The `data` section.
        plain: Its plain numbers, where they are known.
    """
    if series.dtype != pl.String:
        return None
    plain = _plain_numbers(series) if plain is None else plain
    is_class = data is not None and explicit_kind(data, series.name) == "categorical"
    if is_class or plain.null_count() == series.null_count():
        return None
    detector = NumberFormatDetector()
    detector.add(series)
    return detector.reading(None if data is None else explicit_decimal(data, series.name))


def _notes(
    frame: pl.DataFrame, found: Mapping[str, DetectedNumbers | None], data: Data | None
) -> tuple[str, ...]:
    """What was assumed of target columns of text."""
    is_class = frame.width == 1 and _may_be_classes(frame.to_series())
    return tuple(
        str(numbers_note(name, reading, keep="data.task: multiclass" if is_class else ""))
        for name, reading in found.items()
        if reading is not None
        and reading.format is not None
        and (data is None or explicit_decimal(data, name) is None)
    )


def _may_be_classes(series: pl.Series) -> bool:
    """Whether no value is alone: classes of one row can not be both learnt and tested."""
    known = series.drop_nulls()
    return len(known) > 0 and not known.is_unique().any()


def _check_text(series: pl.Series, written: DetectedNumbers | None) -> None:
    """Refuse text that is a number or a date in most rows, and a class of its own in each."""
    if written is None:
        return
    is_class, distinct = _may_be_classes(series), series.drop_nulls().n_unique()
    if distinct <= MANY_FORMATTED_NUMBERS or (is_class and distinct <= MAX_CLASSES):
        return
    name, task = series.name, ", or set data.task: multiclass" * is_class
    if written.several and written.distinct > MANY_FORMATTED_NUMBERS:
        units = quoted(written.several, MAX_UNITS)
        found = f"numbers with the units {units}"
        if len(written.several) == 1:
            found = f"numbers with the unit {units} in some rows and none in others"
        fix = f"write them in one unit{task}"
        raise DataError(_problem(f"numbers in one unit in '{name}'", found, fix))
    if written.example and written.is_close:
        found = f"{quoted(written.others)} among {written.numbers:,} numbers such as '{written.example}'"
        pronoun = "it" if written.known - written.numbers == 1 else "them"
        fix = f"correct {pronoun}, or add {pronoun} to data.csv.null_values{task}"
        raise DataError(_problem(f"numbers in '{name}'", found, fix))
    dates = DateFormatDetector()
    dates.add(series)
    if dates.reading().formats or count_dates(series) == written.known:
        found = f"dates in '{name}', such as '{series.drop_nulls()[0]}'"
        fix = f"turn them into numbers, such as days{task}"
        raise DataError(_problem("classes or numbers", found, fix))


def _several(frame: pl.DataFrame, data: Data | None) -> InferredTask:
    if all(
        parse_booleans(series, marks=True).null_count() == series.null_count() for series in frame
    ):
        return InferredTask("multilabel", f"{frame.width} target columns, all yes/no")
    found = {series.name: _written(series, data) for series in frame}
    numbers = {
        name: reading.format
        for name, reading in found.items()
        if reading is not None and reading.format is not None
    }
    plain = parse_number_columns(frame, numbers)
    schema = plain.schema
    wrong = [
        name
        for name in frame.columns
        if plain.select(number(name, schema[name])).to_series().null_count()
        > frame[name].null_count()
    ]
    if not wrong:
        reason = f"{frame.width} target columns, all numbers"
        return InferredTask("regression", reason, numbers=numbers, notes=_notes(frame, found, data))
    raise DataError(
        _problem(
            "several target columns that are all yes/no or all numbers",
            "other values in " + ", ".join(f"'{name}'" for name in wrong[:5]),
            "name one column with classes, or leave these out",
        )
    )


def _problem(expected: str, found: str, fix: str) -> Problem:
    return Problem("", expected, found, fix, "data.target")


def task_columns_problem(task: TaskName, columns: Sequence[str]) -> Problem | None:
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
