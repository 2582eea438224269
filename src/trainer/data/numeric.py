"""Numeric columns: clip outliers, impute, scale; many columns at once.

    x  →  clip to bounds  →  impute  →  (x - center) / divisor   →  smooth clip
                                    or  interpolated quantiles  →  smooth clip
    x  →  piecewise-linear bins (`piecewise`), in addition if configured

Statistics are those of the training rows, in float64, with the population's standard deviation (divided
by n) and linearly interpolated quantiles. Scales are fitted on clipped and imputed values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, Protocol, assert_never

import numpy as np
from pydantic import Field

from trainer.config.data import Numeric, NumericImpute, Outliers, Scale
from trainer.data.arrays import BoolArray, Float64Array
from trainer.data.fitted_base import FittedBase
from trainer.data.number_formats import NumberFormat
from trainer.data.piecewise import PiecewiseBins, fit_piecewise, piecewise_names

MAX_QUANTILES = 1_000
"""Maximum number of quantiles for `scale: quantile`."""


class Bounds(FittedBase):
    """Outlier bounds of a column.

    Attributes:
        method: "iqr" or "zscore".
        action: clip: values are clipped to the bounds. drop: training rows outside were dropped; other
            values are unchanged.
        lower: The lower bound.
        upper: The upper bound.
    """

    method: Literal["iqr", "zscore"]
    action: Literal["drop", "clip"]
    lower: float
    upper: float


class QuantileGrid(FittedBase):
    """Quantile transform to a normal distribution: `scores` interpolated at `values`.

    Attributes:
        values: Quantiles of the training rows, strictly increasing.
        scores: The normal quantiles at their ranks (the mean rank for ties).
    """

    values: tuple[float, ...]
    scores: tuple[float, ...]


def _is_none(value: object) -> bool:
    return value is None


class NumericColumn(FittedBase):
    """A fitted numeric column; statistics are those of the known values in the training rows.

    Attributes:
        missing: Number of training rows without a value.
        std: Standard deviation.
        sampled: Sample size for the quantiles (median, quartiles, grid, bins, most frequent) of a
            streamed table with more values; null if they are exact.
        outliers: Outlier bounds; null if not configured, or if the quartiles or all values are equal.
        impute: How missing values are imputed.
        fill: The imputed value; the median for `drop`, for rows outside training.
        scale: How values are scaled.
        center: Subtracted from values (0 for none and quantile).
        divisor: Values are divided by it (1 for none and quantile).
        quantiles: The grid of `scale: quantile`.
        smooth_clip: The bound of the smooth clip.
        indicator: Whether there is a 0/1 column for missing values.
        piecewise: The bins of a piecewise-linear encoding; omitted without bins.
        features: The encoded columns for this column.
        number_format: The number format of a text column; omitted for plain numbers.
    """

    kind: Literal["numeric"] = "numeric"
    name: str
    missing: int
    mean: float
    std: float
    minimum: float
    maximum: float
    sampled: int | None = None
    outliers: Bounds | None
    impute: NumericImpute
    fill: float
    scale: Scale
    center: float
    divisor: float
    quantiles: QuantileGrid | None
    smooth_clip: float | None
    indicator: bool
    piecewise: PiecewiseBins | None = Field(default=None, exclude_if=_is_none)
    features: tuple[str, ...]
    number_format: NumberFormat | None = Field(default=None, exclude_if=_is_none)


class NumericSummary(Protocol):
    """Statistics of the training values of a column, as fitting needs them."""

    @property
    def missing(self) -> int: ...
    @property
    def minimum(self) -> float: ...
    @property
    def maximum(self) -> float: ...
    @property
    def values(self) -> Float64Array:
        """The values that quantiles are computed from, shape (n,), sorted."""
        ...

    @property
    def sampled(self) -> int | None:
        """Sample size for the quantiles; None for all values."""
        ...

    def mean(self) -> float: ...
    def std(self) -> float: ...
    def most_frequent(self) -> float: ...
    def quantile(self, share: float) -> float: ...
    def clip(self, bounds: Bounds) -> NumericSummary:
        """Return the statistics of the values clipped to the bounds."""
        ...

    def impute(self, fill: float) -> NumericSummary:
        """Return the statistics with missing values imputed."""
        ...


@dataclass(frozen=True, slots=True)
class SortedValues:
    """All known values of a column, shape (n,), sorted, and the number of missing ones."""

    values: Float64Array
    missing: int

    @property
    def minimum(self) -> float:
        return float(self.values[0])

    @property
    def maximum(self) -> float:
        return float(self.values[-1])

    @property
    def sampled(self) -> int | None:
        return None

    def mean(self) -> float:
        return mean(self.values)

    def std(self) -> float:
        return std(self.values)

    def most_frequent(self) -> float:
        values, counts = np.unique(self.values, return_counts=True)
        return float(values[np.argmax(counts)])

    def quantile(self, share: float) -> float:
        """Return a quantile by linear interpolation."""
        position = share * (len(self.values) - 1)
        below = int(position)
        above = min(below + 1, len(self.values) - 1)
        part = position - below
        return float(self.values[below] * (1 - part) + self.values[above] * part)

    def clip(self, bounds: Bounds) -> SortedValues:
        return SortedValues(np.clip(self.values, bounds.lower, bounds.upper), self.missing)

    def impute(self, fill: float) -> SortedValues:
        if not self.missing:
            return self
        return SortedValues(np.sort(np.concatenate((self.values, np.full(self.missing, fill)))), 0)


def outlier_bounds(known: NumericSummary, outliers: Outliers) -> Bounds | None:
    """Return the outlier bounds of a column; None if the quartiles (iqr) or all values are equal.

    Args:
        known: Statistics of the training values.
        outliers: Method, factor and action.
    """
    match outliers.method:
        case "iqr":
            low, high = known.quantile(0.25), known.quantile(0.75)
            reach = outliers.factor * (high - low)
        case "zscore":
            low = high = known.mean()
            reach = outliers.factor * known.std()
        case _:
            assert_never(outliers.method)
    if reach == 0:
        return None
    return Bounds(
        method=outliers.method, action=outliers.action, lower=low - reach, upper=high + reach
    )


def fit_numeric(
    name: str,
    known: NumericSummary,
    settings: Numeric,
    outliers: Outliers | None,
    dropped: Bounds | None = None,
) -> NumericColumn | None:
    """Fit one column; None if it is constant after imputation and has no missing indicator.

    Args:
        name: The column.
        known: Statistics of the training values, of which there is at least one.
        settings: The column's settings.
        outliers: `data.clean.outliers` if it applies to this column.
        dropped: The bounds outside which rows were dropped.
    """
    bounds = dropped
    if outliers is not None and outliers.action == "clip":
        bounds = outlier_bounds(known, outliers)
    usual = known if bounds is None or bounds.action == "drop" else known.clip(bounds)
    fill = _fill(usual, settings)
    imputed = usual.impute(fill)
    indicator = settings.indicator and known.missing > 0
    if imputed.minimum == imputed.maximum and not indicator:
        return None
    center, divisor = _center_and_scale(imputed, settings.scale)
    bins = settings.piecewise_bins
    piecewise = None if bins is None else fit_piecewise(usual.values, bins)
    features = (name, f"{name}=(missing)") if indicator else (name,)
    return NumericColumn(
        name=name,
        missing=known.missing,
        mean=known.mean(),
        std=known.std(),
        minimum=known.minimum,
        maximum=known.maximum,
        sampled=known.sampled,
        outliers=bounds,
        impute=settings.impute,
        fill=fill,
        scale=settings.scale,
        center=center,
        divisor=divisor,
        quantiles=_grid(imputed) if settings.scale == "quantile" else None,
        smooth_clip=settings.smooth_clip,
        indicator=indicator,
        piecewise=piecewise,
        features=features if piecewise is None else features + piecewise_names(name, piecewise),
    )


def with_number_format(column: NumericColumn, number_format: NumberFormat | None) -> NumericColumn:
    """Return the column with a number format."""
    return (
        column
        if number_format is None
        else column.model_copy(update={"number_format": number_format})
    )


def apply_numeric(
    columns: Sequence[NumericColumn], values: Float64Array
) -> tuple[Float64Array, BoolArray]:
    """Transform the values of some columns.

    Args:
        columns: The k fitted columns.
        values: Shape (n, k), NaN where missing, none infinite; overwritten.

    Returns:
        The transformed values (n, k), the same array, and the mask of missing values, bool (n, k).
    """
    missing = np.isnan(values)
    for index, column in enumerate(columns):
        if column.outliers is not None and column.outliers.action == "clip":
            np.clip(values[:, index], column.outliers.lower, column.outliers.upper,
                    out=values[:, index])  # fmt: skip
    if missing.any():
        np.copyto(values, np.array([column.fill for column in columns]), where=missing)
    values -= np.array([column.center for column in columns])
    values /= np.array([column.divisor for column in columns])
    for index, column in enumerate(columns):
        grid = column.quantiles
        if grid is not None:
            values[:, index] = np.interp(values[:, index], grid.values, grid.scores)
        if column.smooth_clip is not None:
            values[:, index] = smooth_clip(values[:, index], column.smooth_clip)
    return values, missing


def with_linear_scaling(column: NumericColumn) -> NumericColumn:
    """Return the column without bins, standardized if scaling is nonlinear (quantiles or smooth clip).

    `data.clean.outliers` still applies, as it corrects the data.
    """
    if column.piecewise is not None:
        features = column.features[: 1 + column.indicator]
        column = column.model_copy(update={"piecewise": None, "features": features})
    if column.quantiles is None and column.smooth_clip is None:
        return column
    return column.model_copy(
        update={
            "scale": "standard",
            "center": column.mean,
            "divisor": column.std or 1.0,
            "quantiles": None,
            "smooth_clip": None,
        }
    )


def smooth_clip(values: Float64Array, bound: float) -> Float64Array:
    """Return x / sqrt(1 + (x / bound)²): close to x for small x, never beyond the bound."""
    scaled: Float64Array = bound * _unit_clip(values / bound)
    return scaled


def _unit_clip(ratio: Float64Array) -> Float64Array:
    clipped: Float64Array = ratio / np.hypot(1.0, ratio)
    return clipped


def mean(values: Float64Array) -> float:
    """Return the mean, without overflow for large values."""
    scale = float(np.max(np.abs(values)))
    return float(np.mean(values)) if scale < 1e150 else float(np.mean(values / scale)) * scale


def std(values: Float64Array) -> float:
    """Return the population standard deviation, without overflow for large values."""
    centered = values - mean(values)
    scale = float(np.max(np.abs(centered)))
    if scale == 0:
        return 0.0
    return float(np.sqrt(np.mean(np.square(centered / scale)))) * scale


def _fill(known: NumericSummary, settings: Numeric) -> float:
    match settings.impute:
        case "mean":
            return known.mean()
        case "median" | "drop":
            return known.quantile(0.5)
        case "constant":
            return settings.constant
        case "most_frequent":
            return known.most_frequent()
        case _:
            assert_never(settings.impute)


def _center_and_scale(known: NumericSummary, scale: Scale) -> tuple[float, float]:
    match scale:
        case "standard":
            center, divisor = known.mean(), known.std()
        case "minmax":
            center, divisor = known.minimum, known.maximum - known.minimum
        case "robust":
            center = known.quantile(0.5)
            divisor = known.quantile(0.75) - known.quantile(0.25)
            divisor = divisor if divisor > 0 else known.std()
        case "quantile" | "none":
            return 0.0, 1.0
        case _:
            assert_never(scale)
    return center, divisor if divisor > 0 else 1.0


def _grid(known: NumericSummary) -> QuantileGrid:
    """Return at most `MAX_QUANTILES` quantiles; point i of m has rank (i + 1/2) / m."""
    points = min(MAX_QUANTILES, len(known.values))
    grid = np.array([known.quantile(share) for share in np.linspace(0, 1, points)])
    values, first, counts = np.unique(grid, return_index=True, return_counts=True)
    ranks = (first + (counts - 1) / 2 + 0.5) / points
    normal = NormalDist()
    scores = tuple(normal.inv_cdf(float(rank)) for rank in ranks)
    return QuantileGrid(values=tuple(values.tolist()), scores=scores)
