"""Curves and a surface of answers over values as they stand in the table.

Values of numbers and dates are quantiles of the rows asked about, those of categories their levels. Each
goes through the run's own preprocessing.

Owns: the values, the grid, the JSON of both. Does not own: the mean answers
(`trainer.evaluation.dependence`), which columns are asked about (`explain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never

import numpy as np
import polars as pl

from trainer.data.arrays import Float32Array, Float64Array
from trainer.data.categorical import BooleanColumn, CategoricalColumn
from trainer.data.datetimes import DatetimeColumn
from trainer.data.number_formats import parse_number_columns
from trainer.data.numeric import NumericColumn
from trainer.data.preprocessing import Column, Preprocessing
from trainer.data.values import number_matrix, to_microseconds
from trainer.evaluation.dependence import partial_dependence
from trainer.evaluation.perturbations import EncodedRows, PredictFn
from trainer.report.explanations import DependenceCurve, DependenceFile, SurfaceFile, SurfacePoints
from trainer.runs.records import to_json

GRID_POINTS = 25
MAX_LEVELS = 30
_SIDE = 60
_DECILES = np.linspace(0.1, 0.9, 9)


@dataclass(frozen=True, slots=True)
class ColumnGrid:
    """The values a column is given.

    Attributes:
        column: The column.
        kind: What its values are.
        values: As JSON has them: numbers, dates in ISO 8601, levels as text; null for missing.
        series: The same, as the preprocessing takes them.
        rug: Deciles of the column in the rows asked about; empty for categories.
    """

    column: str
    kind: Literal["numeric", "datetime", "categorical"]
    values: list[Any]
    series: pl.Series
    rug: list[Any]


def make_column_grid(column: Column, cells: pl.Series) -> ColumnGrid | None:
    """The values that a column is given; None when none of its rows has one.

    Args:
        column: What was fitted of it.
        cells: The column in the rows asked about.
    """
    name = column.name
    match column:
        case NumericColumn():
            written = {} if column.written is None else {name: column.written}
            numbers = number_matrix(parse_number_columns(cells.to_frame(), written), [name])[:, 0]
            known = numbers[np.isfinite(numbers)]
            if not len(known):
                return None
            grid = _grid(known)
            rug = np.quantile(known, _DECILES).tolist()
            return ColumnGrid(name, "numeric", grid.tolist(), pl.Series(name, grid), rug)
        case DatetimeColumn():
            stamps = to_microseconds(cells, column.format).drop_nulls().to_numpy()
            if not len(stamps):
                return None
            moments = _moments(name, _grid(stamps.astype(np.float64)))
            rug_moments = _moments(name, np.quantile(stamps, _DECILES))
            return ColumnGrid(name, "datetime", _texts(moments), moments, _texts(rug_moments))
        case CategoricalColumn():
            levels = _levels(column)
            return ColumnGrid(name, "categorical", levels, pl.Series(name, levels, pl.String), [])
        case BooleanColumn():
            words = ["false", "true", *([None] if column.has_missing_level else [])]
            return ColumnGrid(name, "categorical", words, pl.Series(name, words, pl.String), [])
        case _:
            assert_never(column)


def partial_dependence_json(
    names: Sequence[str],
    encoders: Sequence[Preprocessing],
    frame: pl.DataFrame,
    weight: Float32Array | None,
    ask: PredictFn,
    answers: Sequence[str],
    split: str,
) -> dict[str, Any]:
    """What `explanation/partial_dependence.json` holds.

    Args:
        names: Columns of the table, each known to an encoder.
        encoders: What encodes the rows.
        frame: The rows, as they stand in the table.
        weight: (n,) or None.
        ask: The network.
        answers: A name for each number of an answer.
        split: The split that the rows are of.
    """
    found = [make_column_grid(_fitted(encoders, name), frame[name]) for name in names]
    curves = [curve for curve in found if curve is not None]
    values = {
        curve.column: [_encoded(encoder, curve.series) for encoder in encoders] for curve in curves
    }
    encodings = [EncodedRows(encoder.transform(frame).x, encoder.places) for encoder in encoders]
    means = partial_dependence(encodings, values, weight, ask)
    found_curves = tuple(
        DependenceCurve(
            column=curve.column,
            kind=curve.kind,
            values=tuple(curve.values),
            answers=tuple(map(tuple, means[curve.column].tolist())),
            rug=tuple(curve.rug),
        )
        for curve in curves
    )
    record = DependenceFile(found_curves, split, frame.height, tuple(answers))
    facts: dict[str, Any] = to_json(record)
    return facts


def surface_json(
    encoders: Sequence[Preprocessing],
    frame: pl.DataFrame,
    actual: Sequence[Any],
    ask: PredictFn,
    answers: Sequence[str],
    split: str,
) -> dict[str, Any] | None:
    """What `explanation/surface.json` holds; None where the features are not two numbers.

    `answers` in it has a row for each of `y` with a cell for each of `x`: a number, or one for each of
    `names` where there are several.

    Args:
        encoders: What encodes the rows.
        frame: The rows, as they stand in the table; they are the points.
        actual: What is true of each.
        ask: The network.
        answers: A name for each number of an answer.
        split: The split that the rows are of.
    """
    columns = encoders[0].columns
    if len(columns) != 2 or any(column.kind != "numeric" for column in columns):
        return None
    names = [column.name for column in columns]
    points = number_matrix(encoders[0].parse_number_columns(frame), names)
    whole = np.flatnonzero(np.isfinite(points).all(axis=1))
    if not len(whole):
        return None
    x, y = (_axis(points[whole, at]) for at in range(2))
    across, up = np.meshgrid(x, y)
    grid = pl.DataFrame({names[0]: across.ravel(), names[1]: up.ravel()})
    said = ask([encoder.transform(grid).x for encoder in encoders]).astype(np.float64)
    cells = said[:, 0] if said.shape[1] == 1 else said
    shape = (len(y), len(x), *cells.shape[1:])
    rows = cells.reshape(shape).tolist()
    points_of = SurfacePoints(
        tuple(points[whole, 0].tolist()),
        tuple(points[whole, 1].tolist()),
        tuple(actual[int(at)] for at in whole),
    )
    record = SurfaceFile(
        columns=tuple(names),
        x=tuple(x.tolist()),
        y=tuple(y.tolist()),
        answers=rows,
        points=points_of,
        names=tuple(answers),
        split=split,
    )
    facts: dict[str, Any] = to_json(record)
    return facts


def _fitted(encoders: Sequence[Preprocessing], name: str) -> Column:
    return next(one for encoder in encoders for one in encoder.columns if one.name == name)


def _encoded(encoder: Preprocessing, series: pl.Series) -> Any:
    """The values (values, places) as one encoder has them."""
    own = tuple(column for column in encoder.columns if column.name == series.name)
    return encoder.model_copy(update={"columns": own}).transform(series.to_frame()).x


def _grid(known: Float64Array) -> Float64Array:
    """All values where they are few, else quantiles between the hundredth and its opposite."""
    unique_encoders = np.unique(known)
    if len(unique_encoders) <= GRID_POINTS:
        return unique_encoders
    return np.unique(np.quantile(known, np.linspace(0.01, 0.99, GRID_POINTS)))


def _axis(values: Float64Array) -> Float64Array:
    """From below the least value to above the greatest."""
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, _SIDE)


def _levels(column: CategoricalColumn) -> list[str | None]:
    """The most frequent levels in their order, one that is rare, and missing."""
    often = sorted(range(len(column.levels)), key=lambda at: -column.counts[at])[:MAX_LEVELS]
    levels: list[str | None] = [column.levels[at] for at in sorted(often)]
    levels += column.merged[:1]
    return [*levels, None] if column.has_missing_level else levels


def _moments(name: str, stamps: Float64Array) -> pl.Series:
    return pl.Series(name, stamps.round().astype(np.int64)).cast(pl.Datetime("us"))


def _texts(moments: pl.Series) -> list[str]:
    return [moment.isoformat() for moment in moments.to_list()]
