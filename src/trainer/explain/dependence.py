"""Partial dependence curves and a surface of predictions over values as they appear in the table.

Partial dependence is the mean prediction with a column set to one value in all rows (Friedman 2001).
Numbers and dates take quantiles of the given rows, categories their levels, encoded with the run's
preprocessing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.arrays import Float32Array, Float64Array
from trainer.data.categorical import BooleanColumn, CategoricalColumn
from trainer.data.datetimes import DatetimeColumn
from trainer.data.images import ImageColumn
from trainer.data.number_formats import parse_number_columns
from trainer.data.numeric import NumericColumn
from trainer.data.preprocessing import Column, Preprocessing
from trainer.data.text_columns import TextColumn
from trainer.data.token_columns import TokenColumn
from trainer.data.values import number_matrix, to_microseconds
from trainer.explain.perturbations import (
    EncodedRows,
    Perturbation,
    PredictFn,
    encode_rows,
    predict_perturbed,
)
from trainer.metrics.arrays import FloatArray
from trainer.runs.explanations import DependenceCurve, DependenceFile, SurfaceFile, SurfacePoints
from trainer.runs.records import to_json

GRID_POINTS = 25
MAX_LEVELS = 30
_SIDE = 60
_DECILES = np.linspace(0.1, 0.9, 9)


@dataclass(frozen=True, slots=True)
class ColumnGrid:
    """The values at which a curve is evaluated.

    Attributes:
        column: The name of the column.
        kind: The kind of its values.
        values: As JSON: numbers, ISO 8601 dates, or levels as text; null for missing.
        series: The same values as input of the preprocessing.
        rug: Deciles of the column in the given rows; empty for categories.
    """

    column: str
    kind: Literal["numeric", "datetime", "categorical"]
    values: list[Any]
    series: pl.Series
    rug: list[Any]


def make_column_grid(column: Column, cells: pl.Series) -> ColumnGrid | None:
    """Return the values at which the curve of a column is evaluated; None for images and texts, or if
    all its cells are missing.

    Args:
        column: The fitted column.
        cells: The column in the given rows.
    """
    name = column.name
    match column:
        case NumericColumn():
            formats = {} if column.number_format is None else {name: column.number_format}
            numbers = number_matrix(parse_number_columns(cells.to_frame(), formats), [name])[:, 0]
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
            levels = ["false", "true", *([None] if column.has_missing_level else [])]
            return ColumnGrid(name, "categorical", levels, pl.Series(name, levels, pl.String), [])
        case ImageColumn() | TextColumn() | TokenColumn():
            return None
        case _:
            assert_never(column)


def partial_dependence(
    encodings: Sequence[EncodedRows],
    values: Mapping[str, Sequence[NDArray[Any]]],
    weight: FloatArray | None,
    predict: PredictFn,
) -> dict[str, Float64Array]:
    """Compute the mean prediction at each value of each column.

    Args:
        encodings: The rows in each encoding.
        values: Column of the table → its values in each encoding, (values, columns) each.
        weight: (n,) weights of the rows in the mean, not all 0; or None.
        predict: The predict function.

    Returns:
        Column → (values, k).
    """
    perturbations = [
        Perturbation(name, [grid[index : index + 1] for grid in grids])
        for name, grids in values.items()
        for index in range(len(grids[0]))
    ]
    predictions = predict_perturbed(predict, encodings, perturbations, len(perturbations))
    return {
        name: np.array(
            [np.average(next(predictions).astype(np.float64), axis=0, weights=weight)
             for _ in range(len(grids[0]))]
        )
        for name, grids in values.items()
    }  # fmt: skip


def partial_dependence_json(
    names: Sequence[str],
    encoders: Sequence[Preprocessing],
    frame: pl.DataFrame,
    weight: Float32Array | None,
    predict: PredictFn,
    prediction_names: Sequence[str],
    split: str,
) -> dict[str, Any]:
    """Return the content of `explanation/partial_dependence.json`.

    Args:
        names: Columns of the table, each known to an encoder.
        encoders: The encoders of the rows.
        frame: The rows as in the table.
        weight: (n,) or None.
        predict: Predicts encoded rows.
        prediction_names: The names of the prediction columns.
        split: The split of the rows.
    """
    grids = [make_column_grid(_fitted(encoders, name), frame[name]) for name in names]
    curves = [curve for curve in grids if curve is not None]
    values = {
        curve.column: [_encoded(encoder, curve.series) for encoder in encoders] for curve in curves
    }
    encodings = [encode_rows(encoder, frame) for encoder in encoders]
    means = partial_dependence(encodings, values, weight, predict)
    dependence_curves = tuple(
        DependenceCurve(
            column=curve.column,
            kind=curve.kind,
            values=tuple(curve.values),
            predictions=tuple(map(tuple, means[curve.column].tolist())),
            rug=tuple(curve.rug),
        )
        for curve in curves
    )
    record = DependenceFile(dependence_curves, split, frame.height, tuple(prediction_names))
    importance_record: dict[str, Any] = to_json(record)
    return importance_record


def surface_json(
    encoders: Sequence[Preprocessing],
    frame: pl.DataFrame,
    actual: Sequence[Any],
    predict: PredictFn,
    prediction_names: Sequence[str],
    split: str,
) -> dict[str, Any] | None:
    """Return the content of `explanation/surface.json`; None unless the features are two numbers.

    Its `predictions` have a row for each value of `y` with a cell for each value of `x`: a number, or
    one for each of `names` if there are several.

    Args:
        encoders: The encoders of the rows.
        frame: The rows as in the table, which become the points.
        actual: The target of each row.
        predict: Predicts encoded rows.
        prediction_names: The names of the prediction columns.
        split: The split of the rows.
    """
    columns = encoders[0].columns
    if len(columns) != 2 or any(column.kind != "numeric" for column in columns):
        return None
    names = [column.name for column in columns]
    points = number_matrix(encoders[0].parse_number_columns(frame), names)
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    if not len(finite):
        return None
    x, y = (_axis(points[finite, index]) for index in range(2))
    grid_x, grid_y = np.meshgrid(x, y)
    grid = pl.DataFrame({names[0]: grid_x.ravel(), names[1]: grid_y.ravel()})
    predictions = predict([encoder.transform(grid).inputs for encoder in encoders]).astype(
        np.float64
    )
    cells = predictions[:, 0] if predictions.shape[1] == 1 else predictions
    shape = (len(y), len(x), *cells.shape[1:])
    rows = cells.reshape(shape).tolist()
    surface_points = SurfacePoints(
        tuple(points[finite, 0].tolist()),
        tuple(points[finite, 1].tolist()),
        tuple(actual[int(index)] for index in finite),
    )
    record = SurfaceFile(
        columns=tuple(names),
        x=tuple(x.tolist()),
        y=tuple(y.tolist()),
        predictions=rows,
        points=surface_points,
        names=tuple(prediction_names),
        split=split,
    )
    importance_record: dict[str, Any] = to_json(record)
    return importance_record


def _fitted(encoders: Sequence[Preprocessing], name: str) -> Column:
    return next(column for encoder in encoders for column in encoder.columns if column.name == name)


def _encoded(encoder: Preprocessing, series: pl.Series) -> NDArray[Any]:
    """Return the values (values, columns) encoded by one encoder."""
    columns = tuple(column for column in encoder.columns if column.name == series.name)
    encoded = encoder.model_copy(update={"columns": columns}).transform(series.to_frame())
    (values,) = encoded.inputs.values()
    return values[:]


def _grid(known: Float64Array) -> Float64Array:
    """Return the distinct values if they are few, else quantiles between 0.01 and 0.99."""
    unique_encoders = np.unique(known)
    if len(unique_encoders) <= GRID_POINTS:
        return unique_encoders
    return np.unique(np.quantile(known, np.linspace(0.01, 0.99, GRID_POINTS)))


def _axis(values: Float64Array) -> Float64Array:
    """Return points from below the minimum to above the maximum."""
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, _SIDE)


def _levels(column: CategoricalColumn) -> list[str | None]:
    """Return the most frequent levels in their order, a rare one, and missing."""
    frequent = sorted(range(len(column.levels)), key=lambda index: -column.counts[index])[
        :MAX_LEVELS
    ]
    levels: list[str | None] = [column.levels[index] for index in sorted(frequent)]
    levels += column.merged[:1]
    return [*levels, None] if column.has_missing_level else levels


def _moments(name: str, stamps: Float64Array) -> pl.Series:
    return pl.Series(name, stamps.round().astype(np.int64)).cast(pl.Datetime("us"))


def _texts(moments: pl.Series) -> list[str]:
    return [moment.isoformat() for moment in moments.to_list()]
