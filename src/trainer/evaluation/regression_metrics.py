"""Regression metrics for many weightings of the same rows at once.

The definitions are those of `trainer.models.regression_metrics`, which computes one weighting.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.evaluation.predictions import Float64Array, Predictions

NEAR_ZERO = 0.01


def is_mape_defined(y: Float64Array) -> bool:
    """Return whether the percentage error is meaningful.

    It is not where a target is closer to 0 than one hundredth of the median absolute target.
    """
    sizes = np.abs(y)
    return bool(len(y) and sizes.min() > NEAR_ZERO * np.median(sizes))


class RegressionMetrics:
    """Computes regression metrics of fixed predictions for any weighting of the rows."""

    def __init__(self, predictions: Predictions, *, ranked: bool) -> None:
        """Precompute per-row terms and sort orders.

        Args:
            predictions: Of a regression.
            ranked: Whether to compute the median error, which takes most of the time.
        """
        y, p = predictions.y.astype(np.float64), predictions.p.astype(np.float64)
        residuals = y - p
        errors = np.abs(residuals)
        # Moments about a value of the column: those of a constant column are exactly 0.
        centered = y - y[:1]
        if len(y):
            centered = centered - np.where(np.ptp(y, axis=0) > 0, centered.mean(axis=0), 0.0)
        terms = {"squared": residuals**2, "mae": errors, "first": centered, "second": centered**2}
        self.has_mape = tuple(is_mape_defined(column) for column in y.T)
        terms["mape"] = errors / np.maximum(np.abs(y), np.finfo(np.float64).eps)
        self._names, self._columns, self._rows = tuple(terms), y.shape[1], len(y)
        self._terms = np.concatenate(list(terms.values()), axis=1)
        self._order = np.argsort(errors, axis=0, kind="stable") if ranked else None
        self._errors = np.sort(errors, axis=0)

    def compute(
        self, weights: Float64Array
    ) -> tuple[dict[str, Float64Array], dict[str, Float64Array]]:
        """Compute every metric for each weighting.

        Args:
            weights: (r, n) of at least 0, each with a sum above 0.

        Returns:
            The unweighted means over the columns, each (r,), and the metrics of each column, each
            (r, k).
        """
        sums = weights @ self._terms / weights.sum(axis=1)[:, None]
        k = self._columns
        means = {name: sums[:, i * k : (i + 1) * k] for i, name in enumerate(self._names)}
        squared, first, second = (means.pop(name) for name in ("squared", "first", "second"))
        mape = means.pop("mape")
        columns = {"mae": means.pop("mae"), "mse": squared, "rmse": np.sqrt(squared)}
        columns["r2"] = self._r2(squared, second - first**2, second)
        if self._order is not None:
            columns["median_absolute_error"] = np.stack(
                [self._medians(weights, self._order[:, i], self._errors[:, i]) for i in range(k)],
                axis=1,
            )
        columns["mape"] = np.where(self.has_mape, mape, np.nan)
        return {name: values.mean(axis=1) for name, values in columns.items()}, columns

    def _r2(
        self, squared: Float64Array, variance: Float64Array, second: Float64Array
    ) -> Float64Array:
        if self._rows < 2:
            return np.full(squared.shape, np.nan)
        # Rounding errors of equal targets are not variance.
        varies = variance > 1e-12 * second
        constant = np.where(squared > 0, 1.0, 0.0)
        return 1 - np.where(varies, squared / np.where(varies, variance, 1.0), constant)

    @staticmethod
    def _medians(
        weights: Float64Array, order: npt.NDArray[np.intp], errors: Float64Array
    ) -> Float64Array:
        """Return the weighted median of sorted errors, averaged where the sum of weights ties at ½."""
        cumulative = np.cumsum(weights.take(order, axis=1), axis=1)
        medians = np.full(len(weights), np.nan)
        if not len(errors):
            return medians
        for row, line in enumerate(cumulative):
            half = 0.5 * line[-1]
            index = int(line.searchsorted(half))
            following = index
            if line[index] - half <= np.finfo(np.float64).eps:
                following = min(int(line.searchsorted(line[index], "right")), len(line) - 1)
            medians[row] = (errors[index] + errors[following]) / 2
        return medians
