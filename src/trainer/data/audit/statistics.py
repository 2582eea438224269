"""The statistics that checks share, of numpy alone."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from trainer.data.arrays import BoolArray, Float64Array


def ranks(values: Float64Array) -> Float64Array:
    """Ranks from 1, equal values sharing their mean rank; (n,)."""
    found: Float64Array = pl.Series(values).rank("average").to_numpy()
    return found


def auc(scores: Float64Array, positive: BoolArray) -> float:
    """The chance that a positive row has a higher score than another, ties half; NaN without both.

    By ranks (Mann and Whitney 1947).
    """
    count = int(positive.sum())
    others = len(positive) - count
    if not count or not others:
        return float("nan")
    total = float(ranks(scores)[positive].sum())
    return (total - count * (count + 1) / 2) / (count * others)


def auc_standard_error(area: float, positives: int, negatives: int) -> float:
    """The standard error of an AUC (Hanley and McNeil 1982)."""
    square = area * area
    first, second = area / (2 - area) - square, 2 * square / (1 + area) - square
    total = area * (1 - area) + (positives - 1) * first + (negatives - 1) * second
    return float(np.sqrt(max(0.0, total) / (positives * negatives)))


def correlation(one: Float64Array, other: Float64Array) -> float:
    """Pearson's r; 0 where one of them does not vary."""
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / size if size > 0 else 0.0


def rank_correlation(one: Float64Array, other: Float64Array) -> float:
    """Spearman's rho."""
    return correlation(ranks(one), ranks(other))


def chi_square_critical_value(chance: float, freedom: int) -> float:
    """What a chi-square variable exceeds with this chance, to six digits; by bisection."""
    low, high = 0.0, 1.0
    while _chi_square_tail(high, freedom) > chance:
        low, high = high, 2 * high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _chi_square_tail(middle, freedom) > chance else (low, middle)
    return high


def _chi_square_tail(value: float, freedom: int) -> float:
    """The chance of more than `value`: Q(freedom / 2, value / 2), a finite sum for whole degrees
    (Abramowitz and Stegun 1964, 26.4.4 and 26.4.5).
    """
    half = value / 2
    odd = freedom % 2 == 1
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    power = math.sqrt(half) / math.gamma(1.5) if odd else 1.0
    for step in range(freedom // 2):
        total += math.exp(-half) * power
        power *= half / (step + (1.5 if odd else 1.0))
    return total
