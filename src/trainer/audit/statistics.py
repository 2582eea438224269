"""Statistics for the checks."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from trainer.data.arrays import Float64Array


def ranks(values: Float64Array) -> Float64Array:
    """Return the (n,) ranks from 1; equal values get their mean rank."""
    result: Float64Array = pl.Series(values).rank("average").to_numpy()
    return result


def auc_standard_error(area: float, positives: int, negatives: int) -> float:
    """Return the standard error of an AUC (Hanley and McNeil 1982)."""
    square = area * area
    first, second = area / (2 - area) - square, 2 * square / (1 + area) - square
    total = area * (1 - area) + (positives - 1) * first + (negatives - 1) * second
    return float(np.sqrt(max(0.0, total) / (positives * negatives)))


def correlation(x: Float64Array, y: Float64Array) -> float:
    """Return Pearson's r; 0 if one of them is constant."""
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 0 else 0.0


def rank_correlation(x: Float64Array, y: Float64Array) -> float:
    """Return Spearman's rho."""
    return correlation(ranks(x), ranks(y))


def chi_square_critical_value(p_value: float, degrees_of_freedom: int) -> float:
    """Return the critical value of the chi-square distribution, to six digits, by bisection."""
    low, high = 0.0, 1.0
    while _chi_square_tail(high, degrees_of_freedom) > p_value:
        low, high = high, 2 * high
    while high - low > 1e-6 * high:
        midpoint = (low + high) / 2
        is_below = _chi_square_tail(midpoint, degrees_of_freedom) > p_value
        low, high = (midpoint, high) if is_below else (low, midpoint)
    return high


def _chi_square_tail(value: float, degrees_of_freedom: int) -> float:
    """Return the survival function Q(degrees_of_freedom / 2, value / 2) as a finite sum.

    Abramowitz and Stegun 1964, 26.4.4 and 26.4.5.
    """
    half = value / 2
    is_odd = degrees_of_freedom % 2 == 1
    total = math.erfc(math.sqrt(half)) if is_odd else 0.0
    power = math.sqrt(half) / math.gamma(1.5) if is_odd else 1.0
    for step in range(degrees_of_freedom // 2):
        total += math.exp(-half) * power
        power *= half / (step + (1.5 if is_odd else 1.0))
    return total
