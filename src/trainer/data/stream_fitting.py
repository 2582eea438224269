"""Fit the feature columns in passes over the training rows, with one batch in memory at a time.

The result is the same as that of `fitting.fit_columns`: the same columns, dropped rows, warnings and
problems; counts, levels, minima and maxima are equal, means and standard deviations equal up to
rounding, quantiles exact or from a sample (`sketches`).

Columns are read again if text is of another kind than in its first batch, invalid values have to be
shown, training rows are dropped, or values are clipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from trainer.config.data import ColumnKind, Data
from trainer.data.accumulators import ColumnAccumulator, NumericAccumulator
from trainer.data.arrays import Assignment, BoolArray, RowIndex, UInt64Array
from trainer.data.column_kinds import (
    MAX_SHOWN,
    InvalidValues,
    almost_numeric_problem,
    invalid_mask,
    invalid_values_problem,
    number_formats,
)
from trainer.data.column_settings import categorical_settings, numeric_settings, settings_problems
from trainer.data.diagnostics import column_diagnostics, level_problems
from trainer.data.feature_diagnostics import INSPECTED_ROWS, feature_diagnostics
from trainer.data.fitting import (
    ColumnFit,
    fit_warnings,
    infinity_problem,
    no_columns_left_problem,
    no_rows_left_problem,
    outlier_problems,
    outliers_for,
)
from trainer.data.hashing import row_keys
from trainer.data.nested_columns import nested_problem
from trainer.data.number_formats import parse_number_columns
from trainer.data.numeric import (
    Bounds,
    NumericColumn,
    bounds_from_summary,
    fit_numeric_summary,
    with_number_format,
)
from trainer.data.opening import Rows
from trainer.data.preprocessing import Column
from trainer.data.sketches import Moments, Sketch, sample_limit
from trainer.data.splits import TRAIN
from trainer.data.tables import Table
from trainer.data.text_formats import ParseSpec, TextFormatDetector
from trainer.data.values import number_matrix
from trainer.errors import DataError, Problem

_SEED = 0

Batch = tuple[RowIndex, pl.DataFrame]


def fit_stream(
    stream: Rows, table: Table, names: Sequence[str], assignment: Assignment, data: Data
) -> ColumnFit:
    """Fit every feature column on the training rows.

    Args:
        stream: All rows.
        table: Locates rows, for messages.
        names: Feature columns, in the table's order.
        assignment: Split code of each row.
        data: The `data` section.

    Raises:
        DataError: See `fit_columns`; also if a column has too many levels to count.
    """
    training = assignment == TRAIN
    accumulators, problems = _accumulate(stream, table, names, training, data)
    full = {
        name: accumulator for name, accumulator in accumulators.items() if not accumulator.empty
    }
    kinds = {
        name: accumulator.inferred_kind
        for name, accumulator in full.items()
        if accumulator.inferred_kind is not None
    }
    parse_specs = {
        name: accumulator.spec
        for name, accumulator in full.items()
        if accumulator.inferred_kind is not None
    }
    problems += settings_problems(data, kinds)
    problems += outlier_problems(data, kinds)
    problems += level_problems(table, names, data)
    problems += [
        infinity_problem(
            table,
            name,
            accumulator.accumulator_of_kind.first_infinite,
            accumulator.accumulator_of_kind.infinite,
        )
        for name, accumulator in full.items()
        if isinstance(accumulator.accumulator_of_kind, NumericAccumulator)
        and accumulator.accumulator_of_kind.infinite
    ]
    if problems:
        raise DataError(problems)
    empty = tuple(name for name, accumulator in accumulators.items() if accumulator.empty)
    del accumulators
    kept = training
    missing, outlier_rows = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    dropped: dict[str, Bounds] = {}
    if _drops(data, kinds):
        missing, outlier_rows, dropped = _dropped_rows(stream, full, training, data)
        kept = training.copy()
        kept[missing] = kept[outlier_rows] = False
        if not kept.any():
            raise DataError(no_rows_left_problem(int(np.count_nonzero(training))))
        full = {name: accumulator.for_next_pass() for name, accumulator in full.items()}
        _add(stream, full, kept)
    columns = _fitted(stream, full, kept, data, dropped)
    for name, number_format in number_formats(parse_specs).items():
        if isinstance(column := columns.get(name), NumericColumn):
            columns[name] = with_number_format(column, number_format)
    rows = np.flatnonzero(kept)
    warnings = fit_warnings(parse_specs, columns, empty, len(rows))
    if not columns:
        raise DataError(no_columns_left_problem(table))
    ordered = tuple(columns[name] for name in names if name in columns)
    remarks = column_diagnostics(ordered, data, table)
    remarks += feature_diagnostics(_first(stream, list(columns)), ordered, data)
    warnings += remarks.warnings
    lines = (tuple(warnings), tuple(remarks.notes), tuple(remarks.hints))
    return ColumnFit(ordered, rows, missing, outlier_rows, *lines)


def _first(stream: Rows, names: Sequence[str]) -> pl.DataFrame:
    """Return some columns of the first rows."""
    parts = []
    rows = 0
    for _, frame in stream.batches(names):
        parts.append(frame)
        rows += frame.height
        if rows >= INSPECTED_ROWS:
            break
    return pl.concat(parts).head(INSPECTED_ROWS)


def _number_batches(
    stream: Rows,
    names: Sequence[str],
    mask: BoolArray,
    accumulators: Mapping[str, ColumnAccumulator],
) -> Iterator[Batch]:
    """Yield batches as `_batches` does, with formatted numbers parsed."""
    number_format = number_formats({name: accumulators[name].spec for name in names})
    for rows, frame in _batches(stream, names, mask):
        yield rows, parse_number_columns(frame, number_format) if number_format else frame


def _batches(stream: Rows, names: Sequence[str], mask: BoolArray) -> Iterator[Batch]:
    """Yield the rows selected by a mask in batches, with their row numbers."""
    if not names:
        return
    for start, frame in stream.batches(names):
        rows = np.flatnonzero(mask[start : start + frame.height])
        if len(rows):
            yield rows + start, frame if len(rows) == frame.height else frame[rows]


def _add(stream: Rows, accumulators: Mapping[str, ColumnAccumulator], mask: BoolArray) -> None:
    for rows, frame in _batches(stream, list(accumulators), mask):
        keys: UInt64Array = row_keys(_SEED, rows)
        for name, accumulator in accumulators.items():
            accumulator.add(frame[name], rows, keys)


def _accumulate(
    stream: Rows, table: Table, names: Sequence[str], training: BoolArray, data: Data
) -> tuple[dict[str, ColumnAccumulator], list[Problem]]:
    """Accumulate each column by its kind, and return the problems with invalid values."""
    schema = stream.header.frame.schema
    nested = {name: nested_problem(table, name, schema[name]) for name in names}
    problems = [problem for problem in nested.values() if problem is not None]
    limit = sample_limit(len(names))
    accumulators = {
        name: ColumnAccumulator(name, schema[name], data, limit)
        for name, problem in nested.items()
        if problem is None
    }
    _add(stream, accumulators, training)
    _detect_formats(stream, accumulators, training, data)
    suspects = {
        name: accumulator.spec if accumulator.inferred_kind is not None else ParseSpec("numeric")
        for name, accumulator in accumulators.items()
        if not accumulator.empty and (accumulator.invalid or accumulator.inferred_kind is None)
    }
    for name, values in _wrong_values(stream, suspects, training, data).items():
        accumulator = (
            accumulators.pop(name)
            if accumulators[name].inferred_kind is None
            else accumulators[name]
        )
        if accumulator.inferred_kind is None:
            problems.append(
                almost_numeric_problem(table, name, values, accumulator.known, accumulator.numeric)
            )
        else:
            problems.append(invalid_values_problem(table, name, values, accumulator.spec, data))
    if not problems:
        others = {
            name: accumulator.for_next_pass()
            for name, accumulator in accumulators.items()
            if not accumulator.empty and accumulator.needs_another_pass
        }
        _add(stream, others, training)
        accumulators |= others
    return accumulators, problems


def _detect_formats(
    stream: Rows, accumulators: Mapping[str, ColumnAccumulator], training: BoolArray, data: Data
) -> None:
    """Detect the formats of text columns whose kind is not known yet."""
    censuses = {
        name: TextFormatDetector(data)
        for name, accumulator in accumulators.items()
        if accumulator.needs_detection
    }
    for _, frame in _batches(stream, list(censuses), training):
        for name, detector in censuses.items():
            detector.add(frame[name])
    for name, detector in censuses.items():
        accumulators[name].set_detected_formats(detector)


def _wrong_values(
    stream: Rows, parse_specs: Mapping[str, ParseSpec], training: BoolArray, data: Data
) -> dict[str, InvalidValues]:
    """Return the first values that cannot be parsed, of the columns that have any."""
    invalid: dict[str, InvalidValues] = {}
    for rows, frame in _batches(stream, list(parse_specs), training):
        for name, spec in parse_specs.items():
            mask = invalid_mask(frame[name], spec, data)
            if not mask.any():
                continue
            more = InvalidValues.at(frame[name], rows, mask)
            if name in invalid:
                earlier = invalid[name]
                more = InvalidValues(
                    (earlier.rows + more.rows)[:MAX_SHOWN],
                    (earlier.values + more.values)[:MAX_SHOWN],
                    earlier.count + more.count,
                )
            invalid[name] = more
    # In the order of the table, not of the first invalid value.
    return {name: invalid[name] for name in parse_specs if name in invalid}


def _drops(data: Data, kinds: Mapping[str, ColumnKind]) -> bool:
    outliers = data.clean.outliers
    return (outliers is not None and outliers.action == "drop") or any(
        _drops_missing(data, name, kind) for name, kind in kinds.items()
    )


def _drops_missing(data: Data, name: str, kind: ColumnKind) -> bool:
    if kind in ("numeric", "datetime"):
        return numeric_settings(data, name).impute == "drop"
    return categorical_settings(data, name).impute == "drop"


def _dropped_rows(
    stream: Rows, accumulators: Mapping[str, ColumnAccumulator], training: BoolArray, data: Data
) -> tuple[RowIndex, RowIndex, dict[str, Bounds]]:
    """Return the training rows to drop for missing values and for outliers, and the bounds."""
    kinds = {
        name: accumulator.kind
        for name, accumulator in accumulators.items()
        if accumulator.kind is not None
    }
    required = [name for name, kind in kinds.items() if _drops_missing(data, name, kind)]
    bounds: dict[str, Bounds] = {}
    for name, accumulator in accumulators.items():
        outliers = outliers_for(data, name)
        numbers = accumulator.accumulator_of_kind
        if (
            outliers is None
            or outliers.action != "drop"
            or not isinstance(numbers, NumericAccumulator)
        ):
            continue
        usual = bounds_from_summary(numbers.known(), outliers)
        if usual is not None:
            bounds[name] = usual
    missing: list[RowIndex] = [np.empty(0, dtype=np.int64)]
    outlier_rows: list[RowIndex] = [np.empty(0, dtype=np.int64)]
    names = list(dict.fromkeys([*required, *bounds]))
    for rows, frame in _number_batches(stream, names, training, accumulators):
        has_missing = np.zeros(len(rows), dtype=np.bool_)
        beyond = np.zeros(len(rows), dtype=np.bool_)
        for name in required:
            if kinds[name] == "numeric":
                has_missing |= np.isnan(number_matrix(frame, [name])[:, 0])
            else:
                has_missing |= frame[name].is_null().to_numpy()
        for name, usual in bounds.items():
            values = number_matrix(frame, [name])[:, 0]
            beyond |= (values < usual.lower) | (values > usual.upper)
        missing.append(rows[has_missing])
        outlier_rows.append(rows[beyond & ~has_missing])
    return np.concatenate(missing), np.concatenate(outlier_rows), bounds


def _fitted(
    stream: Rows,
    accumulators: Mapping[str, ColumnAccumulator],
    kept: BoolArray,
    data: Data,
    dropped: Mapping[str, Bounds],
) -> dict[str, Column]:
    numbers = {
        name: accumulator.accumulator_of_kind.known
        for name, accumulator in accumulators.items()
        if isinstance(accumulator.accumulator_of_kind, NumericAccumulator)
        and accumulator.accumulator_of_kind.moments.count
    }
    clipped = _clipped(stream, accumulators, numbers, kept, data)
    columns: dict[str, Column | None] = {}
    for name, accumulator in accumulators.items():
        if name in numbers:
            known = numbers[name](clipped[name] if name in clipped else None)
            settings, outliers = numeric_settings(data, name), outliers_for(data, name)
            columns[name] = fit_numeric_summary(
                name, known, settings, outliers, dropped[name] if name in dropped else None
            )
        elif not accumulator.empty and not isinstance(
            accumulator.accumulator_of_kind, NumericAccumulator
        ):
            columns[name] = accumulator.fitted()
    return {name: column for name, column in columns.items() if column is not None}


def _clipped(
    stream: Rows,
    accumulators: Mapping[str, ColumnAccumulator],
    numbers: Mapping[str, Callable[[], Sketch]],
    kept: BoolArray,
    data: Data,
) -> dict[str, Moments]:
    """Return the moments after clipping of the columns that have values to clip."""
    bounds: dict[str, Bounds] = {}
    for name, known in numbers.items():
        outliers = outliers_for(data, name)
        if outliers is None or outliers.action != "clip":
            continue
        sketch = known()
        usual = bounds_from_summary(sketch, outliers)
        if usual is not None and (sketch.minimum < usual.lower or sketch.maximum > usual.upper):
            bounds[name] = usual
    moments = dict.fromkeys(bounds, Moments())
    for _, frame in _number_batches(stream, list(bounds), kept, accumulators):
        for name, usual in bounds.items():
            values = number_matrix(frame, [name])[:, 0]
            values = np.clip(values[~np.isnan(values)], usual.lower, usual.upper)
            moments[name] = moments[name].merged(Moments.of(values))
    return moments
