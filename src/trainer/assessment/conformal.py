"""Prediction intervals for regression with a coverage guarantee: split conformal prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.assessment.intervals import ConfidenceInterval, wilson_interval
from trainer.metrics.arrays import Float64Array, FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class ConformalIntervals:
    """Prediction intervals of constant width around predictions, or around pairs of quantiles.

    Attributes:
        half_width: (k,) in the target's unit, by how much an interval extends from the prediction, or
            from the lower and upper quantile; inf with too few rows for the coverage. Negative if the
            quantiles cover too much.
        coverage: The nominal coverage: the fraction of new rows whose value lies inside, on average over
            validation sets. It holds for any model if new rows are exchangeable with the validation
            rows.
        rows: The number of validation rows.
    """

    half_width: Float64Array
    coverage: float
    rows: int

    def intervals(
        self, p: FloatArray, upper: FloatArray | None = None
    ) -> tuple[Float64Array, Float64Array]:
        """Return the lower and upper bounds around predictions or quantiles, each (n, k)."""
        return p - self.half_width, (p if upper is None else upper) + self.half_width


def fit_conformal(
    y: FloatArray, p: FloatArray, coverage: float = 0.9, upper: FloatArray | None = None
) -> ConformalIntervals:
    """Fit the half widths: the ⌈(n + 1) · coverage⌉-th smallest of n absolute residuals.

    Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, Distribution-free predictive inference for regression,
    2018, algorithm 2. With quantiles, the residual is the distance of the target from the interval
    between them, negative inside: Romano, Patterson, Candès, Conformalized quantile regression, 2019.
    Weights of rows are ignored.

    Args:
        y: (n, k) targets of validation rows, which the model was not trained on.
        p: (n, k) predictions, or lower quantiles.
        coverage: Such as 0.9.
        upper: (n, k) upper quantiles, or None.
    """
    # 0.9 · 10 can be a little more than 9 in floating point.
    rank = int(np.ceil((len(y) + 1) * coverage - 1e-9))
    if rank > len(y):
        return ConformalIntervals(np.full(y.shape[1], np.inf), coverage, len(y))
    actual = y.astype(np.float64)
    residuals = np.maximum(p - actual, actual - (p if upper is None else upper))
    return ConformalIntervals(np.partition(residuals, rank - 1, axis=0)[rank - 1], coverage, len(y))


def empirical_coverage(
    conformal: ConformalIntervals,
    y: FloatArray,
    p: FloatArray,
    confidence_level: float = 0.95,
    upper: FloatArray | None = None,
) -> tuple[ConfidenceInterval, ...]:
    """Compute the fraction of rows inside the intervals, with its Wilson interval, for each column.

    Args:
        conformal: The prediction intervals.
        y: (n, k) targets of rows that the widths were not fitted on.
        p: (n, k) predictions, or lower quantiles.
        confidence_level: Confidence level of the Wilson interval.
        upper: (n, k) upper quantiles, or None.
    """
    low, high = conformal.intervals(p.astype(np.float64), upper)
    if not len(y):
        return tuple(ConfidenceInterval(np.nan, 0.0, 1.0) for _ in y.T)
    shares = np.mean((low <= y) & (y <= high), axis=0)
    bounds = wilson_interval(shares, np.full(shares.shape, float(len(y))), confidence_level)
    return tuple(
        ConfidenceInterval(float(shares[k]), float(bounds[0][k]), float(bounds[1][k]))
        for k in range(len(shares))
    )
