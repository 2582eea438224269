"""Fit the feature columns on the training rows: infer kinds, drop rows, then fit each column."""

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
"""A categorical column with more levels than this fraction of its rows looks like an identifier."""

_LISTED = 10


@dataclass(frozen=True)
class ColumnFit:
    """The fitted columns and the remaining training rows.

    Attributes:
        columns: The fitted columns, in the table's order.
        rows: The training rows that were fitted on, int64.
        missing: Training rows dropped for a missing value, int64.
        outlier_rows: Training rows dropped for an outlier, int64.
        warnings: Excluded columns and suspicious values.
        notes: Assumptions, each with the setting that changes it.
        hints: See `Diagnostics.hints`.
    """

    columns: tuple[Column, ...]
    rows: RowIndex
    missing: RowIndex
    outlier_rows: RowIndex
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


def fit_columns(table: Table, names: Sequence[str], rows: RowIndex, data: Data) -> ColumnFit:
    """Fit every feature column on the training rows.

    Args:
        table: The table.
        names: Feature columns, in the table's order.
        rows: Training rows.
        data: The `data` section.

    Raises:
        DataError: If values are invalid or infinite, settings do not apply, or no row or column is
            left; lists all problems.
    """
    first = table.frame.select(names).head(INSPECTED_ROWS)
    inferred, problems = infer_kinds(table, names, rows, data)
    kinds, parse_specs = inferred.kinds, inferred.parse_specs
    table = replace(table, frame=parse_number_columns(table.frame, inferred.number_formats))
    problems += settings_problems(data, kinds)
    problems += outlier_problems(data, kinds)
    problems += level_problems(table, names, data)
    problems += _infinities(table, kinds, rows)
    if problems:
        raise DataError(problems)
    missing, outlier_rows, dropped = _dropped_rows(table, kinds, rows, data)
    kept = rows[~(missing | outlier_rows)]
    if not len(kept):
        raise DataError(no_rows_left_problem(len(rows)))
    columns = _fitted(table, parse_specs, kept, data, dropped)
    warnings = fit_warnings(parse_specs, columns, inferred.empty, len(kept))
    if not columns:
        raise DataError(no_columns_left_problem(table))
    ordered = tuple(columns[name] for name in names if name in columns)
    remarks = column_diagnostics(ordered, data, table) + feature_diagnostics(first, ordered, data)
    return ColumnFit(
        ordered,
        kept,
        rows[missing],
        rows[outlier_rows & ~missing],
        (*warnings, *remarks.warnings),
        tuple(remarks.notes),
        tuple(remarks.hints),
    )


def columns_of_kind(kinds: Mapping[str, ColumnKind], kind: ColumnKind) -> list[str]:
    """Return the columns of a kind."""
    return [name for name, column_kind in kinds.items() if column_kind == kind]


def outliers_for(data: Data, name: str) -> Outliers | None:
    """Return `data.clean.outliers` if it applies to a column."""
    outliers = data.clean.outliers
    if outliers is None or (outliers.columns is not None and name not in outliers.columns):
        return None
    return outliers


def outlier_problems(data: Data, kinds: Mapping[str, ColumnKind]) -> list[Problem]:
    """Return the problems with columns in `data.clean.outliers.columns` that are not numeric."""
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
            positions = np.flatnonzero(infinite[:, index])
            problems.append(
                infinity_problem(table, names[index], int(rows[positions[0]]), len(positions))
            )
    return problems


def infinity_problem(table: Table, name: str, row: int, count: int) -> Problem:
    """Return the problem with infinite values in training rows, of which `row` is the first."""
    rows = "1 more row" if count == 2 else f"{count - 1:,} more rows"
    found = "infinity" + (f" here and in {rows}" if count > 1 else "")
    fix = "correct it, or leave it empty to have it imputed"
    if "csv" in table.formats:
        fix += "; or add it, as spelled in the file (inf, -inf), to data.csv.null_values"
    return Problem(table.where(row), f"finite numbers in '{name}'", found, fix)


def no_rows_left_problem(rows: int) -> Problem:
    """Return the problem when all of `rows` training rows were dropped."""
    found = f"none of {rows:,} after dropping missing values and outliers"
    fix = "impute missing values (data.numeric.impute: median) or clip outliers"
    return Problem("", "training rows", found, fix, "data.numeric.impute")


def no_columns_left_problem(table: Table) -> Problem:
    """Return the problem when every feature is empty or constant."""
    found = "none: all are empty or constant"
    fix = "check data.source and data.features"
    return Problem(table.name, "a feature that varies in training", found, fix)


def _dropped_rows(
    table: Table, kinds: Mapping[str, ColumnKind], rows: RowIndex, data: Data
) -> tuple[BoolArray, BoolArray, dict[str, Bounds]]:
    """Return masks of the training rows to drop for missing values and for outliers, and the bounds."""
    missing = np.zeros(len(rows), dtype=np.bool_)
    outlier_rows = np.zeros(len(rows), dtype=np.bool_)
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
            nulls = np.isnan(column)
            if numeric_settings(data, name).impute == "drop":
                missing |= nulls
            outliers = outliers_for(data, name)
            if drops and outliers is not None:
                usual = outlier_bounds(np.sort(column[~nulls]), outliers)
                if usual is not None:
                    bounds[name] = usual
                    outlier_rows |= (column < usual.lower) | (column > usual.upper)
    for name, kind in kinds.items():
        if kind == "numeric":
            continue
        settings = numeric_settings if kind == "datetime" else categorical_settings
        if settings(data, name).impute == "drop":
            missing |= table.frame[name].gather(rows).is_null().to_numpy()
    return missing, outlier_rows, bounds


def _fitted(
    table: Table,
    parse_specs: Mapping[str, ParseSpec],
    rows: RowIndex,
    data: Data,
    dropped: Mapping[str, Bounds],
) -> dict[str, Column]:
    columns: dict[str, Column | None] = {}
    numeric = [name for name, spec in parse_specs.items() if spec.kind == "numeric"]
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
                None
                if fitted is None
                else with_number_format(fitted, parse_specs[name].number_format)
            )
    for name, spec in parse_specs.items():
        if spec.kind == "numeric":
            continue
        series = table.frame[name].gather(rows)
        if series.null_count() == len(series):
            continue
        match spec.kind:
            case "categorical":
                columns[name] = fit_categorical(
                    name, series, categorical_settings(data, name), explicit_levels(data, name)
                )
            case "boolean":
                columns[name] = fit_boolean(name, series, categorical_settings(data, name))
            case "datetime":
                dates = datetime_settings(data, name, spec.date_format)
                columns[name] = fit_datetime(name, series, dates)
    return {name: column for name, column in columns.items() if column is not None}


def fit_warnings(
    parse_specs: Mapping[str, ParseSpec],
    columns: Mapping[str, Column],
    empty: Sequence[str],
    rows: int,
) -> list[str]:
    """Return warnings about assumptions, excluded columns and columns that look like identifiers."""
    constant = [name for name in parse_specs if name not in columns]
    notes = {
        name: str(spec.note)
        for name, spec in parse_specs.items()
        if spec.note is not None and name in columns
    }
    warnings = truncated(list(notes.values()), "columns of numbers or dates written as text")
    if empty:
        warnings.append(f"ignored, no values in the training rows: {quoted(empty, _LISTED)}")
    if constant:
        warnings.append(f"ignored, constant in the training rows: {quoted(constant, _LISTED)}")
    many = []
    for column in columns.values():
        # A note about the column is more specific than a warning about its many levels.
        if isinstance(column, CategoricalColumn) and column.name not in notes:
            levels = len(column.levels) + len(column.merged)
            if levels > max(20, MAX_LEVEL_RATIO * rows):
                many.append(
                    f"'{column.name}' has {levels:,} distinct values in {rows:,} training rows: "
                    f"identifiers carry no information; if it is one, set "
                    f"data.features.exclude: {flow_text([column.name])}"
                )
    return warnings + truncated(many, "columns with such values")
