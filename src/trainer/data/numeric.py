"""Numeric columns: bounds, fill, scale. Many columns at once, one number each.

    x  →  clipped to bounds  →  filled where missing  →  (x - center) / spread  →  smooth clip
                                                   or  →  interpolated quantiles  →  smooth clip

Statistics are of the training rows, in float64; the deviation is the population's (divided by n);
quantiles interpolate linearly. Scales are learnt on filled and clipped values, as they are applied.

Owns: fitting and applying. Does not own: which rows train, where the columns go in `x`.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal, assert_never

import numpy as np

from trainer.config.data import Numeric, NumericImpute, Outliers, Scale
from trainer.data.arrays import Bools, Floats
from trainer.data.fitted import Fitted

GRID = 1_000
"""Most quantiles that `scale: quantile` keeps."""


class Bounds(Fitted):
    """What is far from the others in a column.

    Attributes:
        method: "iqr" or "zscore".
        action: clip: values are moved to the bounds. drop: training rows beyond were left out;
            later values stay as they are.
        lower: The least usual value.
        upper: The greatest usual value.
    """

    method: Literal["iqr", "zscore"]
    action: Literal["drop", "clip"]
    lower: float
    upper: float


class QuantileGrid(Fitted):
    """Ranks to a normal distribution: `scores` interpolated at `values`, flat beyond the ends.

    Attributes:
        values: Quantiles of the training rows, rising; tied ones once.
        scores: The normal distribution's quantile at their ranks (the mean rank of tied ones).
    """

    values: tuple[float, ...]
    scores: tuple[float, ...]


class NumericColumn(Fitted):
    """A fitted numeric column; statistics are of its known values in the training rows.

    Attributes:
        name: The column.
        kind: "numeric".
        missing: Training rows without a value.
        mean: Of the known values.
        deviation: Of the known values.
        minimum: Of the known values.
        maximum: Of the known values.
        outliers: What is far; null when not asked for, or when the quartiles or all values are equal.
        impute: How missing values are filled.
        fill: What they are filled with. `drop` has the median, for rows that are not left out.
        scale: How values are scaled.
        center: Subtracted (0 for none and quantile).
        spread: Divided by (1 for none and quantile).
        quantiles: The grid of `scale: quantile`.
        smooth_clip: The bound of the smooth clip.
        indicator: Whether a 0/1 column says where a value was missing.
        features: The columns of `x` made from it.
    """

    kind: Literal["numeric"] = "numeric"
    name: str
    missing: int
    mean: float
    deviation: float
    minimum: float
    maximum: float
    outliers: Bounds | None
    impute: NumericImpute
    fill: float
    scale: Scale
    center: float
    spread: float
    quantiles: QuantileGrid | None
    smooth_clip: float | None
    indicator: bool
    features: tuple[str, ...]


def outlier_bounds(values: Floats, outliers: Outliers) -> Bounds | None:
    """The usual range of a column; None when half of its values, or all, are equal.

    Args:
        values: Known training values, shape (n,), sorted.
        outliers: Method, factor and action.
    """
    match outliers.method:
        case "iqr":
            low, high = _quantile(values, 0.25), _quantile(values, 0.75)
            reach = outliers.factor * (high - low)
        case "zscore":
            low = high = mean(values)
            reach = outliers.factor * deviation(values)
        case _:
            assert_never(outliers.method)
    if reach == 0:
        return None
    return Bounds(
        method=outliers.method, action=outliers.action, lower=low - reach, upper=high + reach
    )


def fit_numeric(
    name: str,
    values: Floats,
    settings: Numeric,
    outliers: Outliers | None,
    dropped: Bounds | None = None,
) -> NumericColumn | None:
    """Learn one column; None when it is constant once it is filled and nothing marks the gaps.

    Args:
        name: The column.
        values: Training values, shape (n,), NaN where missing, none infinite, one known at least.
        settings: The column's settings.
        outliers: `data.clean.outliers` when it holds for this column.
        dropped: The bounds beyond which rows were left out before.
    """
    known = np.sort(values[~np.isnan(values)])
    missing = len(values) - len(known)
    bounds = dropped
    if outliers is not None and outliers.action == "clip":
        bounds = outlier_bounds(known, outliers)
    fill = _fill(known if bounds is None else _within(known, bounds), settings)
    filled = known if bounds is None else _within(known, bounds)
    if missing:
        filled = np.sort(np.concatenate((filled, np.full(missing, fill))))
    indicator = settings.indicator and missing > 0
    if filled[0] == filled[-1] and not indicator:
        return None
    center, spread = _center_and_spread(filled, settings.scale)
    return NumericColumn(
        name=name,
        missing=missing,
        mean=mean(known),
        deviation=deviation(known),
        minimum=float(known[0]),
        maximum=float(known[-1]),
        outliers=bounds,
        impute=settings.impute,
        fill=fill,
        scale=settings.scale,
        center=center,
        spread=spread,
        quantiles=_grid(filled) if settings.scale == "quantile" else None,
        smooth_clip=settings.smooth_clip,
        indicator=indicator,
        features=(name, f"{name}=(missing)") if indicator else (name,),
    )


def apply_numeric(columns: Sequence[NumericColumn], values: Floats) -> tuple[Floats, Bools]:
    """Scale the values of some columns.

    Args:
        columns: What was fitted, k columns.
        values: Shape (n, k), NaN where missing, none infinite; it is overwritten.

    Returns:
        The scaled values (n, k), the same array, and where they were missing, bool (n, k).
    """
    missing = np.isnan(values)
    for index, column in enumerate(columns):
        if column.outliers is not None and column.outliers.action == "clip":
            np.clip(values[:, index], column.outliers.lower, column.outliers.upper,
                    out=values[:, index])  # fmt: skip
    if missing.any():
        np.copyto(values, np.array([column.fill for column in columns]), where=missing)
    values -= np.array([column.center for column in columns])
    values /= np.array([column.spread for column in columns])
    for index, column in enumerate(columns):
        grid = column.quantiles
        if grid is not None:
            values[:, index] = np.interp(values[:, index], grid.values, grid.scores)
        if column.smooth_clip is not None:
            values[:, index] = smooth_clip(values[:, index], column.smooth_clip)
    return values, missing


def smooth_clip(values: Floats, bound: float) -> Floats:
    """The value x / sqrt(1 + (x / bound)²): near x where x is small, never beyond the bound."""
    scaled: Floats = bound * _unit_clip(values / bound)
    return scaled


def _unit_clip(ratio: Floats) -> Floats:
    clipped: Floats = ratio / np.hypot(1.0, ratio)
    return clipped


def mean(values: Floats) -> float:
    """The mean, without overflow for large values."""
    scale = float(np.max(np.abs(values)))
    return float(np.mean(values)) if scale < 1e150 else float(np.mean(values / scale)) * scale


def deviation(values: Floats) -> float:
    """The population's standard deviation, without overflow for large values."""
    away = values - mean(values)
    scale = float(np.max(np.abs(away)))
    if scale == 0:
        return 0.0
    return float(np.sqrt(np.mean(np.square(away / scale)))) * scale


def _within(values: Floats, bounds: Bounds) -> Floats:
    return np.clip(values, bounds.lower, bounds.upper) if bounds.action == "clip" else values


def _quantile(ordered: Floats, share: float) -> float:
    """A quantile of sorted values, by linear interpolation."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    part = place - below
    return float(ordered[below] * (1 - part) + ordered[above] * part)


def _fill(ordered: Floats, settings: Numeric) -> float:
    match settings.impute:
        case "mean":
            return mean(ordered)
        case "median" | "drop":
            return _quantile(ordered, 0.5)
        case "constant":
            return settings.constant
        case "most_frequent":
            values, counts = np.unique(ordered, return_counts=True)
            return float(values[np.argmax(counts)])
        case _:
            assert_never(settings.impute)


def _center_and_spread(ordered: Floats, scale: Scale) -> tuple[float, float]:
    match scale:
        case "standard":
            center, spread = mean(ordered), deviation(ordered)
        case "minmax":
            center, spread = float(ordered[0]), float(ordered[-1] - ordered[0])
        case "robust":
            center = _quantile(ordered, 0.5)
            spread = _quantile(ordered, 0.75) - _quantile(ordered, 0.25)
            spread = spread if spread > 0 else deviation(ordered)
        case "quantile" | "none":
            return 0.0, 1.0
        case _:
            assert_never(scale)
    return center, spread if spread > 0 else 1.0


def _grid(ordered: Floats) -> QuantileGrid:
    """At most `GRID` quantiles; point i of m has rank (i + 1/2) / m."""
    points = min(GRID, len(ordered))
    grid = np.array([_quantile(ordered, place) for place in np.linspace(0, 1, points)])
    values, first, counts = np.unique(grid, return_index=True, return_counts=True)
    ranks = (first + (counts - 1) / 2 + 0.5) / points
    normal = NormalDist()
    scores = tuple(normal.inv_cdf(float(rank)) for rank in ranks)
    return QuantileGrid(values=tuple(values.tolist()), scores=scores)
