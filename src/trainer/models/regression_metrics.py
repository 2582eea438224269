"""Regression metrics, in NumPy.

Each function takes (n, k) targets and predictions and (n,) sample weights or None, and returns the
unweighted mean over the k columns, as scikit-learn does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from trainer.config.objectives import MetricName

Float64Array = npt.NDArray[np.float64]


def regression_metric(
    name: MetricName,
) -> Callable[[Float64Array, Float64Array, Float64Array | None], float]:
    """Return the function that computes a regression metric."""
    match name:
        case "mse":
            return mean_squared_error
        case "rmse":
            return root_mean_squared_error
        case "mae":
            return mean_absolute_error
        case "median_absolute_error":
            return median_absolute_error
        case "mape":
            return mean_absolute_percentage_error
        case "r2":
            return r2
        case _:
            raise AssertionError(f"{name} is not a regression metric")


def mean_squared_error(y: Float64Array, p: Float64Array, weight: Float64Array | None) -> float:
    return float(np.mean(np.average((y - p) ** 2, axis=0, weights=weight)))


def root_mean_squared_error(y: Float64Array, p: Float64Array, weight: Float64Array | None) -> float:
    return float(np.mean(np.sqrt(np.average((y - p) ** 2, axis=0, weights=weight))))


def mean_absolute_error(y: Float64Array, p: Float64Array, weight: Float64Array | None) -> float:
    return float(np.mean(np.average(np.abs(y - p), axis=0, weights=weight)))


def mean_absolute_percentage_error(
    y: Float64Array, p: Float64Array, weight: Float64Array | None
) -> float:
    """Mean of |y - p| / |y| as a fraction, not in percent; a target of 0 is replaced by 2.2e-16."""
    relative = np.abs(y - p) / np.maximum(np.abs(y), np.finfo(np.float64).eps)
    return float(np.mean(np.average(relative, axis=0, weights=weight)))


def median_absolute_error(y: Float64Array, p: Float64Array, weight: Float64Array | None) -> float:
    """Median of |y - p|; weighted if there are sample weights."""
    errors = np.abs(y - p)
    if weight is None:
        return float(np.mean(np.median(errors, axis=0)))
    return float(np.mean([_weighted_median(column, weight) for column in errors.T]))


def r2(y: Float64Array, p: Float64Array, weight: Float64Array | None) -> float:
    """1 - Σ(y - p)² / Σ(y - mean)².

    Returns:
        nan for fewer than two rows; a constant column counts as 1 if it is predicted exactly, else
        as 0.
    """
    if len(y) < 2:
        return float("nan")
    weights = np.ones(len(y)) if weight is None else weight
    residual = weights @ (y - p) ** 2
    total = weights @ (y - np.average(y, axis=0, weights=weight)) ** 2
    unexplained = np.divide(residual, total, out=np.where(residual > 0, 1.0, 0.0), where=total > 0)
    return float(np.mean(1 - unexplained))


def _weighted_median(values: Float64Array, weight: Float64Array) -> float:
    """Return the averaged inverse of the weighted distribution function at ½."""
    positive = weight > 0
    order = np.argsort(values[positive])
    ordered, cumulative = values[positive][order], np.cumsum(weight[positive][order])
    half = 0.5 * cumulative[-1]
    index = min(int(np.searchsorted(cumulative, half)), len(ordered) - 1)
    if cumulative[index] - half > np.finfo(np.float64).eps:
        return float(ordered[index])
    return float((ordered[index] + ordered[min(index + 1, len(ordered) - 1)]) / 2)
