"""Numeric columns: bounds, fill, scale. Many columns at once, one number each.

    x  →  clipped to bounds  →  filled where missing  →  (x - center) / spread  →  smooth clip
                                                   or  →  interpolated quantiles  →  smooth clip

Statistics are of the training rows, in float64; the deviation is the population's (divided by n);
quantiles interpolate linearly. Scales are learnt on filled and clipped values, as they are applied.

Owns: fitting and applying. Does not own: which rows train, where the columns go in `x`.
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

MAX_QUANTILES = 1_000
"""Most quantiles that `scale: quantile` keeps."""


class Bounds(FittedBase):
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


class QuantileGrid(FittedBase):
    """Ranks to a normal distribution: `scores` interpolated at `values`, flat beyond the ends.

    Attributes:
        values: Quantiles of the training rows, rising; tied ones once.
        scores: The normal distribution's quantile at their ranks (the mean rank of tied ones).
    """

    values: tuple[float, ...]
    scores: tuple[float, ...]


class NumericColumn(FittedBase):
    """A fitted numeric column; statistics are of its known values in the training rows.

    Attributes:
        name: The column.
        kind: "numeric".
        missing: Training rows without a value.
        mean: Of the known values.
        std: Of the known values.
        minimum: Of the known values.
        maximum: Of the known values.
        sampled: How many known values the quantiles (median, quartiles, grid, most frequent) were read
            off when a table was streamed and had more; null when they are exact.
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
        written: How its numbers are written as text; left out where they are plain.
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
    spread: float
    quantiles: QuantileGrid | None
    smooth_clip: float | None
    indicator: bool
    features: tuple[str, ...]
    written: NumberFormat | None = Field(default=None, exclude_if=lambda value: value is None)


class NumericSummary(Protocol):
    """The values of a column in the training rows, as far as fitting asks."""

    @property
    def missing(self) -> int: ...
    @property
    def minimum(self) -> float: ...
    @property
    def maximum(self) -> float: ...
    @property
    def sampled(self) -> int | None:
        """How many values the quantiles are read off; None for all."""
        ...

    def mean(self) -> float: ...
    def std(self) -> float: ...
    def most_frequent(self) -> float: ...
    def quantile(self, share: float) -> float: ...
    def within(self, bounds: Bounds) -> NumericSummary:
        """The values moved to the bounds."""
        ...

    def filled(self, fill: float) -> NumericSummary:
        """With the missing values filled."""
        ...

    def count(self) -> int:
        """How many values quantiles tell apart."""
        ...


@dataclass(frozen=True, slots=True)
class SortedValues:
    """All known values of a column, shape (n,), sorted, and how many are missing."""

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
        """By linear interpolation."""
        place = share * (len(self.values) - 1)
        below = int(place)
        above = min(below + 1, len(self.values) - 1)
        part = place - below
        return float(self.values[below] * (1 - part) + self.values[above] * part)

    def within(self, bounds: Bounds) -> SortedValues:
        return SortedValues(np.clip(self.values, bounds.lower, bounds.upper), self.missing)

    def filled(self, fill: float) -> SortedValues:
        if not self.missing:
            return self
        return SortedValues(np.sort(np.concatenate((self.values, np.full(self.missing, fill)))), 0)

    def count(self) -> int:
        return len(self.values)


def outlier_bounds(values: Float64Array, outliers: Outliers) -> Bounds | None:
    """The usual range of a column; None when half of its values, or all, are equal.

    Args:
        values: Known training values, shape (n,), sorted.
        outliers: Method, factor and action.
    """
    return bounds_from_summary(SortedValues(values, 0), outliers)


def bounds_from_summary(known: NumericSummary, outliers: Outliers) -> Bounds | None:
    """As `outlier_bounds`."""
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
    values: Float64Array,
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
    return fit_numeric_summary(
        name, SortedValues(known, len(values) - len(known)), settings, outliers, dropped
    )


def fit_numeric_summary(
    name: str,
    known: NumericSummary,
    settings: Numeric,
    outliers: Outliers | None,
    dropped: Bounds | None = None,
) -> NumericColumn | None:
    """As `fit_numeric`, from what is known of the values."""
    bounds = dropped
    if outliers is not None and outliers.action == "clip":
        bounds = bounds_from_summary(known, outliers)
    usual = known if bounds is None or bounds.action == "drop" else known.within(bounds)
    fill = _fill(usual, settings)
    filled = usual.filled(fill)
    indicator = settings.indicator and known.missing > 0
    if filled.minimum == filled.maximum and not indicator:
        return None
    center, spread = _center_and_spread(filled, settings.scale)
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
        spread=spread,
        quantiles=_grid(filled) if settings.scale == "quantile" else None,
        smooth_clip=settings.smooth_clip,
        indicator=indicator,
        features=(name, f"{name}=(missing)") if indicator else (name,),
    )


def with_number_format(column: NumericColumn, written: NumberFormat | None) -> NumericColumn:
    """The column, of which numbers are written so as text."""
    return column if written is None else column.model_copy(update={"written": written})


def apply_numeric(
    columns: Sequence[NumericColumn], values: Float64Array
) -> tuple[Float64Array, BoolArray]:
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


def with_linear_scaling(column: NumericColumn) -> NumericColumn:
    """The column scaled to mean 0 and deviation 1 where its encoding is no straight line (quantiles, a
    smooth clip), and as it is where it is one. `data.clean.outliers` holds in both: it corrects the
    data.
    """
    if column.quantiles is None and column.smooth_clip is None:
        return column
    return column.model_copy(
        update={
            "scale": "standard",
            "center": column.mean,
            "spread": column.std or 1.0,
            "quantiles": None,
            "smooth_clip": None,
        }
    )


def smooth_clip(values: Float64Array, bound: float) -> Float64Array:
    """The value x / sqrt(1 + (x / bound)²): near x where x is small, never beyond the bound."""
    scaled: Float64Array = bound * _unit_clip(values / bound)
    return scaled


def _unit_clip(ratio: Float64Array) -> Float64Array:
    clipped: Float64Array = ratio / np.hypot(1.0, ratio)
    return clipped


def mean(values: Float64Array) -> float:
    """The mean, without overflow for large values."""
    scale = float(np.max(np.abs(values)))
    return float(np.mean(values)) if scale < 1e150 else float(np.mean(values / scale)) * scale


def std(values: Float64Array) -> float:
    """The population's standard deviation, without overflow for large values."""
    away = values - mean(values)
    scale = float(np.max(np.abs(away)))
    if scale == 0:
        return 0.0
    return float(np.sqrt(np.mean(np.square(away / scale)))) * scale


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


def _center_and_spread(known: NumericSummary, scale: Scale) -> tuple[float, float]:
    match scale:
        case "standard":
            center, spread = known.mean(), known.std()
        case "minmax":
            center, spread = known.minimum, known.maximum - known.minimum
        case "robust":
            center = known.quantile(0.5)
            spread = known.quantile(0.75) - known.quantile(0.25)
            spread = spread if spread > 0 else known.std()
        case "quantile" | "none":
            return 0.0, 1.0
        case _:
            assert_never(scale)
    return center, spread if spread > 0 else 1.0


def _grid(known: NumericSummary) -> QuantileGrid:
    """At most `MAX_QUANTILES` quantiles; point i of m has rank (i + 1/2) / m."""
    points = min(MAX_QUANTILES, known.count())
    grid = np.array([known.quantile(place) for place in np.linspace(0, 1, points)])
    values, first, counts = np.unique(grid, return_index=True, return_counts=True)
    ranks = (first + (counts - 1) / 2 + 0.5) / points
    normal = NormalDist()
    scores = tuple(normal.inv_cdf(float(rank)) for rank in ranks)
    return QuantileGrid(values=tuple(values.tolist()), scores=scores)
