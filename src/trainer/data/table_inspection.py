"""Inspect all rows of a table, for `init` to propose a config (`trainer.config.template`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from trainer.config.data import ColumnKind, ColumnSettings, Data
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import RowIndex
from trainer.data.classes import count_classes
from trainer.data.column_scan import infer_kinds
from trainer.data.feature_diagnostics import IDENTIFIER_NAME
from trainer.data.features import feature_columns, target_columns
from trainer.data.fitting import MAX_LEVEL_RATIO
from trainer.data.label_lists import count_labels, has_lists, likely_separator
from trainer.data.missing_values import no_target_problem
from trainer.data.number_formats import NumberFormat, parse_number_columns, parse_numbers
from trainer.data.numeric_targets import recommend_scale
from trainer.data.opening import open_table
from trainer.data.spellings import case_variants, natural_sort
from trainer.data.tables import SourceFile, Table
from trainer.data.targets import target_mask
from trainer.data.tasks import InferredTask, infer_task, is_formatted_number
from trainer.data.text_formats import ParseSpec
from trainer.data.text_recognition import is_text
from trainer.data.values import is_nested, number_expr, number_matrix, to_microseconds
from trainer.errors import DataError, Problem
from trainer.task_names import TaskName

IDENTIFIER_ROWS = 20
"""Minimum number of rows for distinct values to suggest an identifier."""

_MIN_TIMES = 10
"""Minimum number of distinct dates for a time split, and maximum number of rows per date."""

_TRAINING_SHARE = 0.6
"""The fraction of training rows when `init` splits by time."""


# Principal components are computed in milliseconds for this many columns and this many cells.
_MIN_REDUNDANT, _MAX_REDUNDANT, _SAMPLED_CELLS, _EXPLAINED = 20, 2_000, 400_000, 0.95

_UNREAD = ParseSpec(None)


@dataclass(frozen=True)
class ColumnFinding:
    """Findings about one feature column.

    Attributes:
        name: The column.
        kind: Its kind; None if it is invalid (see `problem`) or has no values.
        missing: Number of rows without a value.
        distinct: Number of distinct values.
        exclude: Why it should not be a feature ("constant", "no values", "identifier", "nested",
            "ambiguous dates", "mostly numbers", "orders the rows"), or None.
        problem: A problem that fitting would raise, or None.
        spec: How it is parsed.
    """

    name: str
    kind: ColumnKind | None
    missing: int
    distinct: int
    exclude: str | None
    problem: Problem | None
    spec: ParseSpec = _UNREAD


@dataclass(frozen=True)
class TimeOrder:
    """A date column that a time split could use.

    Attributes:
        column: The column.
        is_sorted: Whether the rows are sorted by it, and the earlier ones have every class.
    """

    column: str
    is_sorted: bool


@dataclass(frozen=True)
class TableFindings:
    """Findings about a table.

    Attributes:
        files: The source files.
        rows: Number of rows with a target.
        target: The target columns.
        task: The inferred task.
        reason: Why this task.
        classes: Rows of each class, in natural order; empty for numbers and several columns.
        number_formats: The number formats of target columns that are not plain numbers.
        order: The date column that a time split could use, or None.
        duplicates: Number of rows that repeat another in every column.
        columns: The feature columns, in the table's order.
        warnings: Warnings about the files and the target.
        separator: The likely separator of labels in target cells, or None.
        scale: The `data.target_scale` recommended for a skewed target, or None.
        case_variants: Classes that differ only in case, and were counted as one.
        are_redundant: Whether a few linear combinations of the numeric columns explain nearly all of
            their variance.
        images: Sizes and memory of images; empty for a table.
    """

    files: tuple[SourceFile, ...]
    rows: int
    target: tuple[str, ...]
    task: TaskName
    reason: str
    classes: dict[str, int]
    number_formats: Mapping[str, NumberFormat]
    order: TimeOrder | None
    duplicates: int
    columns: tuple[ColumnFinding, ...]
    warnings: tuple[str, ...]
    separator: str | None = None
    scale: Literal["log", "power"] | None = None
    case_variants: tuple[str, ...] = ()
    are_redundant: bool = False
    images: str = ""


def inspect_table(data: Data) -> TableFindings:
    """Inspect the table of a `data` section; only source and target are required.

    Raises:
        DataError: If the table cannot be read, or the target is missing or empty.
    """
    source = open_table(data, streamed=False)
    table = source.read_columns(source.header.frame.columns)
    names, problems = feature_columns(table, data)
    if problems:
        raise DataError(problems)
    targets = target_columns(data)
    separator = None
    if len(targets) == 1 and not is_formatted_number(table.frame[targets[0]], data):
        separator = likely_separator(table.frame[targets[0]])
    data = data.model_copy(update={"target_separator": separator})
    has_label_lists = len(targets) == 1 and has_lists(table.frame[targets[0]], data)
    has_target = target_mask(table.frame, targets, has_label_lists=has_label_lists)
    rows: RowIndex = np.flatnonzero(has_target)
    if not len(rows):
        raise DataError(no_target_problem(table, targets))
    values = table.frame.select(targets)[rows]
    inferred, same = _infer_task(table, values, data)
    classes: dict[str, int] = {}
    if len(targets) == 1 and TASK_RULES[inferred.task].is_exclusive:
        counts = count_classes(values.to_series(), ignore_case=bool(same))
        classes = {name: counts[name] for name in natural_sort(list(counts))}
        if len(classes) == 1:
            raise DataError(_one_class(table, targets[0], *classes))
    plain = table.frame.select(
        name for name, dtype in table.frame.schema.items() if not is_nested(dtype)
    )
    columns = column_findings(table, names, rows, data)
    order = _time_order(table, columns, rows, values.to_series() if classes else None)
    if order is not None and order.is_sorted:
        columns = tuple(
            replace(column, exclude="orders the rows") if column.name == order.column else column
            for column in columns
        )
    return TableFindings(
        files=table.files,
        rows=len(rows),
        target=targets,
        task=inferred.task,
        reason=inferred.reason,
        classes=classes,
        duplicates=plain.height - plain.n_unique(),
        separator=separator,
        case_variants=same,
        columns=columns,
        number_formats=inferred.number_formats,
        scale=_advised_scale(values, inferred),
        order=order,
        are_redundant=_are_redundant(table.frame, columns),
        warnings=(*table.warnings, *inferred.notes),
    )


def _infer_task(
    table: Table, values: pl.DataFrame, data: Data
) -> tuple[InferredTask, tuple[str, ...]]:
    """Return the task, and a group of classes that differ only in case, which are counted as one.

    Raises:
        DataError: If the values are not a valid target.
    """
    try:
        inferred = infer_task(values, data)
        same = _same_but_case(values, inferred.task, data)
        if same:
            name = values.columns[0]
            settings = data.columns.get(name, ColumnSettings())
            settings = settings.model_copy(update={"ignore_case": True})
            data = data.model_copy(update={"columns": {**data.columns, name: settings}})
            inferred = infer_task(values, data)
    except DataError as error:
        raise DataError(table.with_location(error.problems)) from error
    return inferred, same


def _one_class(table: Table, name: str, only: str) -> Problem:
    return Problem(
        table.name,
        f"at least two distinct values in '{name}'",
        f"'{only}' in every row",
        "choose another column with --target",
    )


def _advised_scale(values: pl.DataFrame, inferred: InferredTask) -> Literal["log", "power"] | None:
    """Return the transform that suits a numeric target better than standardization, or None."""
    if values.width > 1 or TASK_RULES[inferred.task].has_classes:
        return None
    numbers = number_matrix(parse_number_columns(values, inferred.number_formats), values.columns)[
        :, 0
    ]
    return recommend_scale(numbers[np.isfinite(numbers)])


def _same_but_case(values: pl.DataFrame, task: TaskName, data: Data) -> tuple[str, ...]:
    """Return a group of classes or labels of the target that differ only in case, or none."""
    rules = TASK_RULES[task]
    if values.width > 1 or not rules.has_classes or rules.has_positive_class:
        return ()
    series = values.to_series()
    if rules.has_several_labels:
        counts = count_labels(series, data.target_separator, ignore_case=False)
    else:
        counts = count_classes(series)
    groups = case_variants(natural_sort(list(counts)))
    return tuple(groups[0]) if groups else ()


def column_findings(
    table: Table, names: Sequence[str], rows: RowIndex, data: Data
) -> tuple[ColumnFinding, ...]:
    """Return findings about columns of some rows of a table."""
    inferred, problems = infer_kinds(table, names, rows, data)
    found = []
    for name in names:
        series = table.frame[name].gather(rows)
        if name in inferred.empty:
            found.append(ColumnFinding(name, None, len(series), 0, "no values", None))
            continue
        if name not in inferred.kinds:
            _, problems = infer_kinds(table, [name], rows, data)
            nested = is_nested(series.dtype)
            distinct = 0 if nested else series.drop_nulls().n_unique()
            reason = "nested" if nested else _mostly_numbers(distinct, len(series))
            found.append(
                ColumnFinding(name, None, series.null_count(), distinct, reason, problems[0])
            )
            continue
        kind = inferred.kinds[name]
        known = series.drop_nulls()
        if known.dtype.is_float():
            known = known.drop_nans()
        distinct = known.n_unique()
        spec = inferred.parse_specs[name]
        exclude = None
        if kind == "categorical" and spec.note is None and is_text(known, distinct):
            kind = "text"
        else:
            exclude = _exclusion(known, spec, distinct)
        missing = len(series) - len(known)
        found.append(ColumnFinding(name, kind, missing, distinct, exclude, None, spec))
    return tuple(found)


def _mostly_numbers(distinct: int, rows: int) -> str | None:
    """Return why mostly numeric text or dates should not be a feature: too few rows per level."""
    return "mostly numbers" if distinct > max(IDENTIFIER_ROWS, MAX_LEVEL_RATIO * rows) else None


def _exclusion(known: pl.Series, spec: ParseSpec, distinct: int) -> str | None:
    """Return why a column should not be a feature, or None.

    Identifiers are text with unique values, or unique integers that are consecutive or named like
    identifiers.
    """
    if distinct == 1:
        return "constant"
    name, note = known.name, spec.note
    if spec.kind == "categorical" and note is not None:
        return "ambiguous dates" if spec.formats else _mostly_numbers(distinct, len(known))
    if len(known) < IDENTIFIER_ROWS or distinct < len(known):
        return None
    if spec.kind == "categorical":
        return "identifier"
    if spec.kind == "numeric":
        known = known if spec.number_format is None else parse_numbers(known, spec.number_format)
        numbers = known.to_frame().select(number_expr(name, known.dtype)).to_series()
        ordered = np.sort(numbers.to_numpy())
        are_integers = bool(np.all(ordered == np.round(ordered)))
        counting = are_integers and bool(np.all(np.diff(ordered) == 1))
        if counting or (are_integers and IDENTIFIER_NAME.search(name) is not None):
            return "identifier"
    return None


def _time_order(
    table: Table, columns: Sequence[ColumnFinding], rows: RowIndex, classes: pl.Series | None
) -> TimeOrder | None:
    """Return the first date column that the rows are sorted by, or one with mostly unique dates."""
    alternative = None
    for column in columns:
        dates = column.kind == "datetime" and column.exclude is None and not column.missing
        if not dates or len(rows) < IDENTIFIER_ROWS:
            continue
        series = table.frame[column.name].gather(rows)
        times = to_microseconds(series, column.spec.date_format).to_numpy()
        steps = np.diff(times)
        if column.distinct * _MIN_TIMES < len(rows) or column.distinct < _MIN_TIMES:
            continue
        if (steps >= 0).all() or (steps <= 0).all():
            early = np.argsort(times, kind="stable")[: int(_TRAINING_SHARE * len(rows))]
            has_all_classes = classes is None or set(classes.gather(early)) >= set(classes)
            return TimeOrder(column.name, is_sorted=has_all_classes)
        if alternative is None and 2 * column.distinct >= len(rows):
            alternative = TimeOrder(column.name, is_sorted=False)
    return alternative


def _are_redundant(frame: pl.DataFrame, columns: Sequence[ColumnFinding]) -> bool:
    """Return whether a few linear combinations of many numbers explain nearly all, as in spectra.

    They do if the first principal components, at most 10% of the number of columns and of rows, explain
    95% of the variance of the standardized numbers.
    """
    names = [
        column.name
        for column in columns
        if column.exclude is None and column.kind == "numeric" and column.spec.number_format is None
    ]
    if not _MIN_REDUNDANT <= len(names) <= _MAX_REDUNDANT:
        return False
    sample = frame.select(names).head(_SAMPLED_CELLS // len(names))
    values = number_matrix(sample, names)
    values[~np.isfinite(values)] = np.nan
    known = np.isfinite(values)
    counts = np.maximum(known.sum(axis=0), 1)
    centered = np.where(known, values - np.where(known, values, 0).sum(axis=0) / counts, 0)
    lengths = np.sqrt(np.square(centered).sum(axis=0))
    variances = np.linalg.svd(centered / np.where(lengths > 0, lengths, 1), compute_uv=False) ** 2
    few = min(values.shape) // 10
    return bool(few and variances[:few].sum() >= _EXPLAINED * variances.sum())
