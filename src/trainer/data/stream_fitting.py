"""Fitting the feature columns in a pass over the training rows, a batch in memory at a time.

What it gives is what `fitting.fit_columns` gives: the same columns, rows left out, warnings and
problems; counts, levels, minima and maxima equal, means and deviations to rounding, quantiles exact or
from a sample (`sketches`).

Columns are read once more where text turns out to be of another kind than in its first batch, where
wrong values are to be shown, where training rows are dropped, and where values are clipped.

Owns: the passes. Does not own: what is counted (`tallies`), what each kind learns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from trainer.config.data import Data, Kind
from trainer.data.arrays import Assignment, Bools, Rows, Words
from trainer.data.assumptions import column_remarks, level_problems
from trainer.data.feature_remarks import FIRST_ROWS, feature_remarks
from trainer.data.fitting import (
    ColumnFit,
    fit_warnings,
    infinity,
    no_columns_left,
    no_rows_left,
    outlier_problems,
    outliers_of,
)
from trainer.data.hashing import row_keys
from trainer.data.kinds import (
    SHOWN,
    WrongValues,
    almost_numeric,
    misfits,
    misread,
    number_formats,
)
from trainer.data.nested import nested_problem
from trainer.data.number_formats import with_numbers
from trainer.data.numeric import Bounds, NumericColumn, as_written, fit_known, usual_range
from trainer.data.preprocessing import Column
from trainer.data.readings import Reading, TextCensus
from trainer.data.settings import categorical_settings, numeric_settings, settings_problems
from trainer.data.sketches import Moments, Sketch, sample_rows
from trainer.data.splits import TRAIN
from trainer.data.streams import Stream
from trainer.data.tables import Table
from trainer.data.tallies import ColumnTally, NumberTally
from trainer.data.values import number_matrix
from trainer.errors import DataError, Problem

_SEED = 0

Batch = tuple[Rows, pl.DataFrame]


def fit_stream(
    stream: Stream, table: Table, names: Sequence[str], assignment: Assignment, data: Data
) -> ColumnFit:
    """Learn every feature column from the training rows.

    Args:
        stream: All rows.
        table: For places of rows.
        names: Feature columns, in the table's order.
        assignment: Split number of each row.
        data: The `data` section.

    Raises:
        DataError: As `fit_columns`; a column with too many levels to count.
    """
    training = assignment == TRAIN
    tallies, problems = _tallied(stream, table, names, training, data)
    full = {name: tally for name, tally in tallies.items() if not tally.empty}
    kinds = {name: tally.found for name, tally in full.items() if tally.found is not None}
    readings = {name: tally.reading for name, tally in full.items() if tally.found is not None}
    problems += settings_problems(data, kinds)
    problems += outlier_problems(data, kinds)
    problems += level_problems(table, names, data)
    problems += [
        infinity(table, name, tally.learner.first_infinite, tally.learner.infinite)
        for name, tally in full.items()
        if isinstance(tally.learner, NumberTally) and tally.learner.infinite
    ]
    if problems:
        raise DataError(problems)
    empty = tuple(name for name, tally in tallies.items() if tally.empty)
    del tallies
    kept = training
    missing, outlying = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    dropped: dict[str, Bounds] = {}
    if _drops(data, kinds):
        missing, outlying, dropped = _dropped_rows(stream, full, training, data)
        kept = training.copy()
        kept[missing] = kept[outlying] = False
        if not kept.any():
            raise DataError(no_rows_left(int(np.count_nonzero(training))))
        full = {name: tally.again() for name, tally in full.items()}
        _add(stream, full, kept)
    columns = _fitted(stream, full, kept, data, dropped)
    for name, written in number_formats(readings).items():
        if isinstance(column := columns.get(name), NumericColumn):
            columns[name] = as_written(column, written)
    rows = np.flatnonzero(kept)
    warnings = fit_warnings(readings, columns, empty, len(rows))
    if not columns:
        raise DataError(no_columns_left(table))
    ordered = tuple(columns[name] for name in names if name in columns)
    remarks = column_remarks(ordered, data, table)
    remarks += feature_remarks(_first(stream, list(columns)), ordered, data)
    warnings += remarks.warnings
    lines = (tuple(warnings), tuple(remarks.notes), tuple(remarks.hints))
    return ColumnFit(ordered, rows, missing, outlying, *lines)


def _first(stream: Stream, names: Sequence[str]) -> pl.DataFrame:
    """Some columns of the first rows."""
    parts = []
    rows = 0
    for _, frame in stream.batches(names):
        parts.append(frame)
        rows += frame.height
        if rows >= FIRST_ROWS:
            break
    return pl.concat(parts).head(FIRST_ROWS)


def _number_batches(
    stream: Stream, names: Sequence[str], wanted: Bools, tallies: Mapping[str, ColumnTally]
) -> Iterator[Batch]:
    """As `_batches`, with numbers read as they are written."""
    written = number_formats({name: tallies[name].reading for name in names})
    for rows, frame in _batches(stream, names, wanted):
        yield rows, with_numbers(frame, written) if written else frame


def _batches(stream: Stream, names: Sequence[str], wanted: Bools) -> Iterator[Batch]:
    """The wanted rows, a batch at a time, with their numbers."""
    if not names:
        return
    for start, frame in stream.batches(names):
        at = np.flatnonzero(wanted[start : start + frame.height])
        if len(at):
            yield at + start, frame if len(at) == frame.height else frame[at]


def _add(stream: Stream, tallies: Mapping[str, ColumnTally], wanted: Bools) -> None:
    for rows, frame in _batches(stream, list(tallies), wanted):
        keys: Words = row_keys(_SEED, rows)
        for name, tally in tallies.items():
            tally.add(frame[name], rows, keys)


def _tallied(
    stream: Stream, table: Table, names: Sequence[str], training: Bools, data: Data
) -> tuple[dict[str, ColumnTally], list[Problem]]:
    """Each column tallied as what it is, and values that do not fit."""
    schema = stream.outline.frame.schema
    nested = {name: nested_problem(table, name, schema[name]) for name in names}
    problems = [problem for problem in nested.values() if problem is not None]
    limit = sample_rows(len(names))
    tallies = {
        name: ColumnTally(name, schema[name], data, limit)
        for name, problem in nested.items()
        if problem is None
    }
    _add(stream, tallies, training)
    _settle(stream, tallies, training, data)
    doubtful = {
        name: tally.reading if tally.found is not None else Reading("numeric")
        for name, tally in tallies.items()
        if not tally.empty and (tally.wrong or tally.found is None)
    }
    for name, values in _wrong_values(stream, doubtful, training, data).items():
        tally = tallies.pop(name) if tallies[name].found is None else tallies[name]
        if tally.found is None:
            problems.append(almost_numeric(table, name, values, tally.known, tally.numeric))
        else:
            problems.append(misfits(table, name, values, tally.reading, data))
    if not problems:
        others = {
            name: tally.again()
            for name, tally in tallies.items()
            if not tally.empty and tally.is_outdated
        }
        _add(stream, others, training)
        tallies |= others
    return tallies, problems


def _settle(
    stream: Stream, tallies: Mapping[str, ColumnTally], training: Bools, data: Data
) -> None:
    """Count the text of the columns of which the kind is not known yet."""
    censuses = {name: TextCensus(data) for name, tally in tallies.items() if tally.is_undecided}
    for _, frame in _batches(stream, list(censuses), training):
        for name, census in censuses.items():
            census.add(frame[name])
    for name, census in censuses.items():
        tallies[name].settle(census)


def _wrong_values(
    stream: Stream, readings: Mapping[str, Reading], training: Bools, data: Data
) -> dict[str, WrongValues]:
    """The first values that cannot be read so, of the columns that have any."""
    found: dict[str, WrongValues] = {}
    for rows, frame in _batches(stream, list(readings), training):
        for name, reading in readings.items():
            wrong = misread(frame[name], reading, data)
            if not wrong.any():
                continue
            more = WrongValues.at(frame[name], rows, wrong)
            if name in found:
                one = found[name]
                more = WrongValues(
                    (one.rows + more.rows)[:SHOWN],
                    (one.values + more.values)[:SHOWN],
                    one.count + more.count,
                )
            found[name] = more
    # In the order of the table, not of the first wrong value.
    return {name: found[name] for name in readings if name in found}


def _drops(data: Data, kinds: Mapping[str, Kind]) -> bool:
    outliers = data.clean.outliers
    return (outliers is not None and outliers.action == "drop") or any(
        _drops_gaps(data, name, kind) for name, kind in kinds.items()
    )


def _drops_gaps(data: Data, name: str, kind: Kind) -> bool:
    if kind in ("numeric", "datetime"):
        return numeric_settings(data, name).impute == "drop"
    return categorical_settings(data, name).impute == "drop"


def _dropped_rows(
    stream: Stream, tallies: Mapping[str, ColumnTally], training: Bools, data: Data
) -> tuple[Rows, Rows, dict[str, Bounds]]:
    """Training rows that a missing value leaves out, those an outlier does, and the latter's bounds."""
    kinds = {name: tally.kind for name, tally in tallies.items() if tally.kind is not None}
    gaps = [name for name, kind in kinds.items() if _drops_gaps(data, name, kind)]
    bounds: dict[str, Bounds] = {}
    for name, tally in tallies.items():
        outliers = outliers_of(data, name)
        numbers = tally.learner
        if outliers is None or outliers.action != "drop" or not isinstance(numbers, NumberTally):
            continue
        found = usual_range(numbers.known(), outliers)
        if found is not None:
            bounds[name] = found
    missing: list[Rows] = [np.empty(0, dtype=np.int64)]
    outlying: list[Rows] = [np.empty(0, dtype=np.int64)]
    names = list(dict.fromkeys([*gaps, *bounds]))
    for rows, frame in _number_batches(stream, names, training, tallies):
        lacking = np.zeros(len(rows), dtype=np.bool_)
        beyond = np.zeros(len(rows), dtype=np.bool_)
        for name in gaps:
            if kinds[name] == "numeric":
                lacking |= np.isnan(number_matrix(frame, [name])[:, 0])
            else:
                lacking |= frame[name].is_null().to_numpy()
        for name, usual in bounds.items():
            values = number_matrix(frame, [name])[:, 0]
            beyond |= (values < usual.lower) | (values > usual.upper)
        missing.append(rows[lacking])
        outlying.append(rows[beyond & ~lacking])
    return np.concatenate(missing), np.concatenate(outlying), bounds


def _fitted(
    stream: Stream,
    tallies: Mapping[str, ColumnTally],
    kept: Bools,
    data: Data,
    dropped: Mapping[str, Bounds],
) -> dict[str, Column]:
    numbers = {
        name: tally.learner.known
        for name, tally in tallies.items()
        if isinstance(tally.learner, NumberTally) and tally.learner.moments.count
    }
    clipped = _clipped(stream, tallies, numbers, kept, data)
    columns: dict[str, Column | None] = {}
    for name, tally in tallies.items():
        if name in numbers:
            known = numbers[name](clipped[name] if name in clipped else None)
            settings, outliers = numeric_settings(data, name), outliers_of(data, name)
            columns[name] = fit_known(
                name, known, settings, outliers, dropped[name] if name in dropped else None
            )
        elif not tally.empty and not isinstance(tally.learner, NumberTally):
            columns[name] = tally.fitted()
    return {name: column for name, column in columns.items() if column is not None}


def _clipped(
    stream: Stream,
    tallies: Mapping[str, ColumnTally],
    numbers: Mapping[str, Callable[[], Sketch]],
    kept: Bools,
    data: Data,
) -> dict[str, Moments]:
    """Moments of the columns that have values to clip, once these are clipped."""
    bounds: dict[str, Bounds] = {}
    for name, known in numbers.items():
        outliers = outliers_of(data, name)
        if outliers is None or outliers.action != "clip":
            continue
        sketch = known()
        usual = usual_range(sketch, outliers)
        if usual is not None and (sketch.minimum < usual.lower or sketch.maximum > usual.upper):
            bounds[name] = usual
    moments = dict.fromkeys(bounds, Moments())
    for _, frame in _number_batches(stream, list(bounds), kept, tallies):
        for name, usual in bounds.items():
            values = number_matrix(frame, [name])[:, 0]
            values = np.clip(values[~np.isnan(values)], usual.lower, usual.upper)
            moments[name] = moments[name].merged(Moments.of(values))
    return moments
