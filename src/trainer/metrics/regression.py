"""The regression metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from trainer.metrics.arrays import Float64Array, FloatArray
from trainer.metrics.labels import squared_errors
from trainer.metrics.weighting import WeightedMetrics

_AVERAGED = ("errors", "squared_errors", "centered", "centered_squares")


class RegressionMetrics:
    """Regression metrics of fixed predictions.

    Only what the requested metrics need is computed, when it is first needed.
    """

    def __init__(self, y: FloatArray, p: FloatArray) -> None:
        """Keep targets and predictions, each (n, k)."""
        self.y, self.p = y.astype(np.float64, copy=False), p.astype(np.float64, copy=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics; those of all columns are the means of those of each."""
        return tuple(_BY_PART)

    part_names = names

    def weighted(self, weights: Float64Array | None) -> WeightedErrors:
        """Return the metrics under weights (r, n), each with a sum above 0; None for equal weights."""
        return WeightedErrors(self, weights)

    @cached_property
    def errors(self) -> Float64Array:
        """The absolute errors, (n, k)."""
        return np.abs(self.y - self.p)

    @cached_property
    def squared_errors(self) -> Float64Array:
        return squared_errors(self.y, self.p)

    @cached_property
    def relative_errors(self) -> Float64Array:
        """|y - p| / |y|; a target of 0 is replaced by 2.2e-16."""
        return self.errors / np.maximum(np.abs(self.y), np.finfo(np.float64).eps)

    @cached_property
    def centered(self) -> Float64Array:
        """The targets minus their unweighted mean; exactly 0 for those of a constant column."""
        centered = self.y - self.y[:1]
        return centered - np.where(np.ptp(self.y, axis=0) > 0, centered.mean(axis=0), 0.0)

    @cached_property
    def centered_squares(self) -> Float64Array:
        return np.square(self.centered)

    @cached_property
    def averaged(self) -> Float64Array:
        """The columns of `_AVERAGED` side by side, (n, 4k)."""
        return np.concatenate([getattr(self, name) for name in _AVERAGED], axis=1)

    @cached_property
    def order(self) -> npt.NDArray[np.intp]:
        """The rows of each column by absolute error."""
        return np.argsort(self.errors, axis=0, kind="stable")


class WeightedErrors(WeightedMetrics):
    """Regression metrics of fixed predictions for each of r weightings."""

    def __init__(self, rows: RegressionMetrics, weights: Float64Array | None) -> None:
        super().__init__(weights, len(rows.y))
        self.rows = rows

    def mean(self, name: str) -> Float64Array:
        """Return the means of the columns of one of `_AVERAGED`, (r, k).

        For several weightings, one product gives them all in half the time of one for each.
        """
        if self.weighting.weights is None or len(self.weighting.weights) == 1:
            return self.weighting.means(getattr(self.rows, name))
        return self._means[:, _AVERAGED.index(name)]

    @cached_property
    def _means(self) -> Float64Array:
        means = self.weighting.means(self.rows.averaged)
        return means.reshape(len(means), len(_AVERAGED), -1)

    def _compute_by_part(self, name: str) -> Float64Array:
        return _BY_PART[name](self)

    def overall(self, name: str) -> Float64Array:
        """Return the mean of a metric over the columns, (r,)."""
        return np.asarray(self.by_part(name).mean(axis=1), np.float64)


def r2_score(squared_error: Float64Array, variance: Float64Array) -> Float64Array:
    """Return 1 - Σ(y - p)² / Σ(y - mean)² from both sums or means.

    A constant column counts as 1 if it is predicted exactly, else as 0.
    """
    constant = np.where(squared_error > 0, 1.0, 0.0)
    return 1 - np.divide(squared_error, variance, out=constant, where=variance > 0)


def _r2(errors: WeightedErrors) -> Float64Array:
    """Return R²; nan for fewer than two rows."""
    squared, rows = errors.by_part("mse"), errors.rows
    if len(rows.y) < 2:
        return np.full(squared.shape, np.nan)
    second = errors.mean("centered_squares")
    variance = second - errors.mean("centered") ** 2
    # Rounding errors of equal targets are not variance.
    return r2_score(squared, np.where(variance > 1e-12 * second, variance, 0.0))


def _median_absolute_error(errors: WeightedErrors) -> Float64Array:
    rows, weights = errors.rows, errors.weighting.weights
    if weights is None:
        # The same values without sorting.
        return np.median(rows.errors, axis=0)[None]
    columns = zip(rows.errors.T, rows.order.T, strict=True)
    return np.stack([weighted_medians(column[order], weights.take(order, axis=1))
                     for column, order in columns], axis=1)  # fmt: skip


def weighted_medians(ordered: Float64Array, weights: Float64Array) -> Float64Array:
    """Return the medians of n ascending values, averaged where the sum of weights ties at ½.

    Args:
        ordered: (n,), n at least 1.
        weights: (r, n), non-negative, in the same order.

    Returns:
        (r,)
    """
    medians = np.empty(len(weights))
    for row, line in enumerate(np.cumsum(weights, axis=1)):
        half = 0.5 * line[-1]
        index = int(line.searchsorted(half))
        following = index
        if line[index] - half <= np.finfo(np.float64).eps:
            following = min(int(line.searchsorted(line[index], "right")), len(line) - 1)
        medians[row] = (ordered[index] + ordered[following]) / 2
    return medians


_BY_PART: Mapping[str, Callable[[WeightedErrors], Float64Array]] = {
    "mae": lambda errors: errors.mean("errors"),
    "mse": lambda errors: errors.mean("squared_errors"),
    "rmse": lambda errors: np.sqrt(errors.by_part("mse")),
    "r2": _r2,
    "median_absolute_error": _median_absolute_error,
    "mape": lambda errors: errors.weighting.means(errors.rows.relative_errors),
}
"""Metrics of one column, each (r, k)."""
