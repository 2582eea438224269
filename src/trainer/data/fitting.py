"""Fit the feature columns in passes over the training rows: infer kinds, drop rows, fit each column.

For a table in memory, statistics are computed from all values. A stream is read with one batch in
memory at a time: counts, levels, minima and maxima are equal, means and standard deviations equal up to
rounding, quantiles exact or from a sample (`sketches`). It is read again if text differs in kind from
its first batch, invalid values have to be shown, training rows are dropped, or values are clipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from trainer.config.data import ColumnKind, Data, Outliers
from trainer.config.nodes import column_key
from trainer.config.yaml_writer import flow_text
from trainer.data.accumulators import NumericAccumulator
from trainer.data.arrays import BoolArray, RowIndex
from trainer.data.categorical import CategoricalColumn
from trainer.data.column_accumulators import ColumnAccumulator
from trainer.data.column_scan import ColumnScan, InferredKinds, inferred_kinds
from trainer.data.column_settings import categorical_settings, numeric_settings, settings_problems
from trainer.data.diagnostics import column_diagnostics, level_problems
from trainer.data.feature_diagnostics import INSPECTED_ROWS, feature_diagnostics
from trainer.data.message_lists import quoted, truncated
from trainer.data.numeric import Bounds, fit_numeric, outlier_bounds, with_number_format
from trainer.data.opening import Rows
from trainer.data.preprocessing import Column
from trainer.data.sketches import Moments, sample_limit
from trainer.data.tables import Table
from trainer.data.text_formats import ParseSpec
from trainer.data.text_recognition import are_sentences
from trainer.data.values import number_matrix
from trainer.errors import DataError, Problem

MAX_LEVEL_RATIO = 0.5
"""A categorical column with more levels than this fraction of its rows looks like an identifier."""

_MAX_LISTED = 10
_MAX_INSPECTED = 1_000


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


def fit_columns(
    source: Rows, table: Table, names: Sequence[str], training: BoolArray, data: Data
) -> ColumnFit:
    """Fit every feature column on the training rows.

    Args:
        source: All rows.
        table: Locates rows, for messages.
        names: Feature columns, in the table's order.
        training: bool (rows,): the training rows.
        data: The `data` section.

    Raises:
        DataError: If values are invalid or infinite, settings do not apply, no row or column is left,
            or a column of a stream has too many levels to count; lists all problems.
    """
    limit = None if source.in_memory else sample_limit(len(names))
    scan = ColumnScan(source, table, data, training, limit)
    flat, problems = scan.flat_columns(names)
    may_drop = _may_drop(data)
    scanned: dict[str, ColumnAccumulator] = {}
    infinite: list[Problem] = []
    bounds: dict[str, Bounds] = {}
    columns: dict[str, Column] = {}
    for block in scan.blocks(flat):
        accumulators, block_problems = scan.accumulate(block)
        problems += block_problems
        infinite += _infinities(table, accumulators.values())
        if may_drop:
            bounds |= _drop_bounds(accumulators.values(), data)
        elif not (problems or settings_problems(data, inferred_kinds(accumulators).kinds)):
            columns |= _fitted(scan, accumulators)
        scanned |= {name: column.without_statistics() for name, column in accumulators.items()}
    inferred = inferred_kinds(scanned)
    problems += settings_problems(data, inferred.kinds)
    problems += outlier_problems(data, inferred.kinds)
    problems += [*level_problems(table, names, data), *infinite]
    if problems:
        raise DataError(problems)
    missing = outlier_rows = np.empty(0, dtype=np.int64)
    if may_drop:
        missing, outlier_rows = _dropped_rows(scan, inferred, bounds)
        scan = _without(scan, missing, outlier_rows)
        for block in scan.blocks(list(inferred.kinds)):
            again = scan.accumulate_again(scanned[name] for name in block)
            columns |= _fitted(scan, again, bounds)
    rows = np.flatnonzero(scan.mask)
    warnings = fit_warnings(inferred.parse_specs, columns, inferred.empty, len(rows))
    if not columns:
        raise DataError(no_columns_left_problem(table))
    ordered = tuple(columns[name] for name in names if name in columns)
    diagnostics = column_diagnostics(ordered, data, table)
    diagnostics += feature_diagnostics(_first_rows(source, list(columns)), ordered, data)
    lines = ((*warnings, *diagnostics.warnings), tuple(diagnostics.notes), tuple(diagnostics.hints))
    return ColumnFit(ordered, rows, missing, outlier_rows, *lines)


def _first_rows(source: Rows, names: Sequence[str]) -> pl.DataFrame:
    """Return some columns of the first rows."""
    parts = []
    rows = 0
    for _, frame in source.batches(names):
        parts.append(frame.head(INSPECTED_ROWS))
        rows += frame.height
        if rows >= INSPECTED_ROWS:
            break
    return pl.concat(parts).head(INSPECTED_ROWS)


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


def _infinities(table: Table, columns: Iterable[ColumnAccumulator]) -> list[Problem]:
    return [
        infinity_problem(table, column.name, numbers.first_infinite, numbers.infinite)
        for column in columns
        if isinstance(numbers := column.statistics, NumericAccumulator) and numbers.infinite
    ]


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


def _may_drop(data: Data) -> bool:
    outliers = data.clean.outliers
    columns = (column.impute for column in data.columns.values())
    methods = (data.numeric.impute, data.categorical.impute, *columns)
    return "drop" in methods or (outliers is not None and outliers.action == "drop")


def _drops_missing(data: Data, name: str, kind: ColumnKind) -> bool:
    if kind in ("numeric", "datetime"):
        return numeric_settings(data, name).impute == "drop"
    return (
        kind not in ("image", "text", "tokens")
        and categorical_settings(data, name).impute == "drop"
    )


def _drop_bounds(columns: Iterable[ColumnAccumulator], data: Data) -> dict[str, Bounds]:
    """Return the bounds outside which training rows are dropped, of the columns that have any."""
    bounds = {}
    for column in columns:
        outliers, numbers = outliers_for(data, column.name), column.statistics
        if outliers is None or outliers.action != "drop":
            continue
        if isinstance(numbers, NumericAccumulator) and numbers.count:
            bounds[column.name] = outlier_bounds(numbers.summary(), outliers)
    return {name: usual for name, usual in bounds.items() if usual is not None}


def _dropped_rows(
    scan: ColumnScan, inferred: InferredKinds, bounds: Mapping[str, Bounds]
) -> tuple[RowIndex, RowIndex]:
    """Return the training rows to drop for missing values, and the others to drop for outliers."""
    required = {
        name for name, kind in inferred.kinds.items() if _drops_missing(scan.data, name, kind)
    }
    missing = np.zeros(len(scan.mask), dtype=np.bool_)
    outlying = np.zeros_like(missing)
    for block in scan.blocks(
        [name for name in inferred.kinds if name in required or name in bounds]
    ):
        for rows, frame in scan.batches(block, inferred.number_formats):
            for name in block:
                if inferred.kinds[name] != "numeric":
                    missing[rows] |= frame[name].is_null().to_numpy()
                    continue
                values = number_matrix(frame, [name])[:, 0]
                if name in required:
                    missing[rows] |= np.isnan(values)
                if name in bounds:
                    outlying[rows] |= values < bounds[name].lower
                    outlying[rows] |= values > bounds[name].upper
    return np.flatnonzero(missing), np.flatnonzero(outlying & ~missing)


def _without(scan: ColumnScan, *dropped: RowIndex) -> ColumnScan:
    """Return the passes over the training rows that are left.

    Raises:
        DataError: If none is left.
    """
    kept = scan.mask.copy()
    kept[np.concatenate(dropped)] = False
    if not kept.any():
        raise DataError(no_rows_left_problem(int(np.count_nonzero(scan.mask))))
    return replace(scan, mask=kept)


def _fitted(
    scan: ColumnScan,
    accumulators: Mapping[str, ColumnAccumulator],
    dropped: Mapping[str, Bounds] = {},
) -> dict[str, Column]:
    """Fit the columns that have values and are not constant.

    Args:
        scan: The training rows.
        accumulators: Their columns.
        dropped: The bounds outside which rows were dropped.
    """
    full = {name: column for name, column in accumulators.items() if not column.is_empty}
    clipped = {} if scan.source.in_memory else _clipped(scan, full)
    columns: dict[str, Column | None] = {}
    for name, column in full.items():
        numbers = column.statistics
        if not isinstance(numbers, NumericAccumulator):
            columns[name] = column.fitted()
        elif numbers.count:
            settings, outliers = numeric_settings(scan.data, name), outliers_for(scan.data, name)
            known = numbers.summary(clipped.get(name))
            fitted = fit_numeric(name, known, settings, outliers, dropped.get(name))
            if fitted is not None:
                columns[name] = with_number_format(fitted, column.spec.number_format)
    return {name: column for name, column in columns.items() if column is not None}


def _clipped(scan: ColumnScan, accumulators: Mapping[str, ColumnAccumulator]) -> dict[str, Moments]:
    """Return the moments after clipping of the columns that have values to clip."""
    bounds: dict[str, Bounds] = {}
    for name, column in accumulators.items():
        outliers, numbers = outliers_for(scan.data, name), column.statistics
        if outliers is None or outliers.action != "clip":
            continue
        if not isinstance(numbers, NumericAccumulator) or not numbers.count:
            continue
        known = numbers.summary()
        usual = outlier_bounds(known, outliers)
        if usual is not None and (known.minimum < usual.lower or known.maximum > usual.upper):
            bounds[name] = usual
    moments = dict.fromkeys(bounds, Moments())
    formats = inferred_kinds(accumulators).number_formats
    for _, frame in scan.batches(list(bounds), formats):
        for name, usual in bounds.items():
            values = number_matrix(frame, [name])[:, 0]
            values = np.clip(values[~np.isnan(values)], usual.lower, usual.upper)
            moments[name] = moments[name].merged(Moments.from_values(values))
    return moments


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
        warnings.append(f"ignored, no values in the training rows: {quoted(empty, _MAX_LISTED)}")
    if constant:
        warnings.append(f"ignored, constant in the training rows: {quoted(constant, _MAX_LISTED)}")
    many = []
    for column in columns.values():
        # A note about the column is more specific than a warning about its many levels.
        if isinstance(column, CategoricalColumn) and column.name not in notes:
            levels = len(column.levels) + len(column.merged)
            if levels > max(20, MAX_LEVEL_RATIO * rows):
                many.append(_many_levels(column, levels, rows))
    return warnings + truncated(many, "columns with such values")


def _many_levels(column: CategoricalColumn, levels: int, rows: int) -> str:
    """Return the warning about a column with about as many categories as rows."""
    found = f"'{column.name}' has {levels:,} distinct values in {rows:,} training rows"
    if are_sentences((*column.levels, *column.merged)[:_MAX_INSPECTED]):
        return f"{found}, which look like text; set {column_key(column.name)}.kind: text"
    exclusion = f"data.features.exclude: {flow_text([column.name])}"
    return f"{found}: identifiers carry no information; if it is one, set {exclusion}"
