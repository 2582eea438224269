"""Fitting the feature columns on the training rows, and those rows alone.

Owns: which training rows `drop` leaves out, which columns are left out, the order of it all: kinds,
rows that drop, then each column. Does not own: what each kind learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainer.config.data import ColumnKind, Data, Outliers
from trainer.config.yaml_writer import flow_text
from trainer.data.arrays import BoolArray, Float64Array, RowIndex
from trainer.data.categorical import CategoricalColumn, fit_boolean, fit_categorical
from trainer.data.column_kinds import infer_kinds
from trainer.data.column_settings import (
    categorical_settings,
    datetime_settings,
    explicit_levels,
    numeric_settings,
    settings_problems,
)
from trainer.data.datetimes import fit_datetime
from trainer.data.diagnostics import column_diagnostics, level_problems
from trainer.data.feature_diagnostics import INSPECTED_ROWS, feature_diagnostics
from trainer.data.message_lists import quoted, truncated
from trainer.data.number_formats import parse_number_columns
from trainer.data.numeric import Bounds, fit_numeric, outlier_bounds, with_number_format
from trainer.data.preprocessing import Column
from trainer.data.tables import Table
from trainer.data.text_formats import ParseSpec
from trainer.data.values import column_blocks, number_matrix
from trainer.errors import DataError, Problem

MAX_LEVEL_RATIO = 0.5
"""A categorical column with more levels than this share of its rows looks like names or numbers of
rows."""

_LISTED = 10


@dataclass(frozen=True)
class ColumnFit:
    """The fitted columns and the training rows that are left.

    Attributes:
        columns: In the table's order.
        rows: The training rows fitted on, int64.
        missing: Training rows left out for a missing value, int64.
        outlying: Training rows left out for an outlier, int64.
        warnings: What was left out or looks odd.
        notes: What was assumed.
        hints: As `Diagnostics.hints`.
    """

    columns: tuple[Column, ...]
    rows: RowIndex
    missing: RowIndex
    outlying: RowIndex
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


def fit_columns(table: Table, names: Sequence[str], rows: RowIndex, data: Data) -> ColumnFit:
    """Learn every feature column from the training rows.

    Args:
        table: The table.
        names: Feature columns, in the table's order.
        rows: Training rows.
        data: The `data` section.

    Raises:
        DataError: Values that do not fit their column, infinite values, settings that do not fit,
            no row or no column left; with every such problem.
    """
    first = table.frame.select(names).head(INSPECTED_ROWS)
    finding, problems = infer_kinds(table, names, rows, data)
    kinds, readings = finding.kinds, finding.readings
    table = replace(table, frame=parse_number_columns(table.frame, finding.numbers))
    problems += settings_problems(data, kinds)
    problems += outlier_problems(data, kinds)
    problems += level_problems(table, names, data)
    problems += _infinities(table, kinds, rows)
    if problems:
        raise DataError(problems)
    missing, outlying, dropped = _dropped_rows(table, kinds, rows, data)
    kept = rows[~(missing | outlying)]
    if not len(kept):
        raise DataError(no_rows_left_problem(len(rows)))
    columns = _fitted(table, readings, kept, data, dropped)
    warnings = fit_warnings(readings, columns, finding.empty, len(kept))
    if not columns:
        raise DataError(no_columns_left_problem(table))
    ordered = tuple(columns[name] for name in names if name in columns)
    remarks = column_diagnostics(ordered, data, table) + feature_diagnostics(first, ordered, data)
    return ColumnFit(
        ordered,
        kept,
        rows[missing],
        rows[outlying & ~missing],
        (*warnings, *remarks.warnings),
        tuple(remarks.notes),
        tuple(remarks.hints),
    )


def columns_of_kind(kinds: Mapping[str, ColumnKind], kind: ColumnKind) -> list[str]:
    """The columns of a kind."""
    return [name for name, found in kinds.items() if found == kind]


def outliers_for(data: Data, name: str) -> Outliers | None:
    """`data.clean.outliers` when it holds for a column."""
    outliers = data.clean.outliers
    if outliers is None or (outliers.columns is not None and name not in outliers.columns):
        return None
    return outliers


def outlier_problems(data: Data, kinds: Mapping[str, ColumnKind]) -> list[Problem]:
    """Columns that can have no outliers and are named among those that do."""
    if data.clean.outliers is None:
        return []
    key = "data.clean.outliers.columns"
    return [
        Problem("", "a numeric column", f"'{name}', which is {kinds[name]}", "remove it", key)
        for name in data.clean.outliers.columns or ()
        if name in kinds and kinds[name] != "numeric"
    ]


def _numbers(table: Table, names: list[str], rows: RowIndex) -> Float64Array:
    return number_matrix(table.frame.select(names)[rows], names)


def _infinities(table: Table, kinds: Mapping[str, ColumnKind], rows: RowIndex) -> list[Problem]:
    problems = []
    for names in column_blocks(columns_of_kind(kinds, "numeric"), len(rows)):
        infinite = np.isinf(_numbers(table, names, rows))
        for index in np.flatnonzero(infinite.any(axis=0)):
            at = np.flatnonzero(infinite[:, index])
            problems.append(infinity_problem(table, names[index], int(rows[at[0]]), len(at)))
    return problems


def infinity_problem(table: Table, name: str, row: int, count: int) -> Problem:
    """What is wrong with infinite values in training rows, `row` the first of them."""
    rows = "1 more row" if count == 2 else f"{count - 1:,} more rows"
    found = "infinity" + (f" there and in {rows}" if count > 1 else "")
    fix = "correct it, or leave it empty to have it filled"
    if "csv" in table.formats:
        fix += "; or add it, as it is written (inf, -inf), to data.csv.null_values"
    return Problem(table.where(row), f"finite numbers in '{name}'", found, fix)


def no_rows_left_problem(rows: int) -> Problem:
    """What is wrong when dropping left nothing of `rows` training rows."""
    found = f"none of {rows:,} after missing values and outliers were dropped"
    fix = "fill missing values (data.numeric.impute: median) or clip outliers"
    return Problem("", "training rows", found, fix, "data.numeric.impute")


def no_columns_left_problem(table: Table) -> Problem:
    """What is wrong when every feature is empty or constant."""
    found = "none: all are empty or the same in every row"
    fix = "is this the right table? See data.features"
    return Problem(table.name, "a feature that varies in training", found, fix)


def _dropped_rows(
    table: Table, kinds: Mapping[str, ColumnKind], rows: RowIndex, data: Data
) -> tuple[BoolArray, BoolArray, dict[str, Bounds]]:
    """Training rows that a missing value or an outlier leaves out, and the bounds of the latter."""
    missing = np.zeros(len(rows), dtype=np.bool_)
    outlying = np.zeros(len(rows), dtype=np.bool_)
    bounds: dict[str, Bounds] = {}
    drops = data.clean.outliers is not None and data.clean.outliers.action == "drop"
    numeric = [
        name
        for name in columns_of_kind(kinds, "numeric")
        if numeric_settings(data, name).impute == "drop" or (drops and outliers_for(data, name))
    ]
    for names in column_blocks(numeric, len(rows)):
        values = _numbers(table, names, rows)
        for index, name in enumerate(names):
            column = values[:, index]
            gaps = np.isnan(column)
            if numeric_settings(data, name).impute == "drop":
                missing |= gaps
            outliers = outliers_for(data, name)
            if drops and outliers is not None:
                found = outlier_bounds(np.sort(column[~gaps]), outliers)
                if found is not None:
                    bounds[name] = found
                    outlying |= (column < found.lower) | (column > found.upper)
    for name, kind in kinds.items():
        if kind == "numeric":
            continue
        settings = numeric_settings if kind == "datetime" else categorical_settings
        if settings(data, name).impute == "drop":
            missing |= table.frame[name].gather(rows).is_null().to_numpy()
    return missing, outlying, bounds


def _fitted(
    table: Table,
    readings: Mapping[str, ParseSpec],
    rows: RowIndex,
    data: Data,
    dropped: Mapping[str, Bounds],
) -> dict[str, Column]:
    columns: dict[str, Column | None] = {}
    numeric = [name for name, reading in readings.items() if reading.kind == "numeric"]
    for names in column_blocks(numeric, len(rows)):
        values = _numbers(table, names, rows)
        for index, name in enumerate(names):
            column = values[:, index]
            if np.isnan(column).all():
                continue
            bounds = dropped.get(name)
            settings = numeric_settings(data, name)
            fitted = fit_numeric(name, column, settings, outliers_for(data, name), bounds)
            columns[name] = (
                None if fitted is None else with_number_format(fitted, readings[name].number)
            )
    for name, reading in readings.items():
        if reading.kind == "numeric":
            continue
        series = table.frame[name].gather(rows)
        if series.null_count() == len(series):
            continue
        match reading.kind:
            case "categorical":
                columns[name] = fit_categorical(
                    name, series, categorical_settings(data, name), explicit_levels(data, name)
                )
            case "boolean":
                columns[name] = fit_boolean(name, series, categorical_settings(data, name))
            case "datetime":
                dates = datetime_settings(data, name, reading.date)
                columns[name] = fit_datetime(name, series, dates)
    return {name: column for name, column in columns.items() if column is not None}


def fit_warnings(
    readings: Mapping[str, ParseSpec],
    columns: Mapping[str, Column],
    empty: Sequence[str],
    rows: int,
) -> list[str]:
    """What was assumed, what was left out and what looks odd."""
    constant = [name for name in readings if name not in columns]
    notes = {
        name: str(each.note)
        for name, each in readings.items()
        if each.note is not None and name in columns
    }
    warnings = truncated(list(notes.values()), "columns of numbers or dates written as text")
    if empty:
        warnings.append(f"left out, no values in the training rows: {quoted(empty, _LISTED)}")
    if constant:
        warnings.append(f"left out, the same in all training rows: {quoted(constant, _LISTED)}")
    many = []
    for column in columns.values():
        # A note says more of a column than that it has many levels, and what to do.
        if isinstance(column, CategoricalColumn) and column.name not in notes:
            levels = len(column.levels) + len(column.merged)
            if levels > max(20, MAX_LEVEL_RATIO * rows):
                many.append(
                    f"'{column.name}' has {levels:,} different values in {rows:,} training rows: "
                    f"names or numbers of rows teach nothing; if it is one, set "
                    f"data.features.exclude: {flow_text([column.name])}"
                )
    return warnings + truncated(many, "columns with such values")
