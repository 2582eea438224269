"""Mean, standard deviation and confidence interval of metrics over several networks.

The interval is that of the mean over training runs: how far off the mean could be because of these
seeds and these training rows. It does not cover other test rows, which all networks share.

Without folds it is Student's interval, t · std / √n. With folds the networks are not independent, since
any two folds share most of their training rows, and Student's interval would be too narrow. Following
Nadeau and Bengio ("Inference for the generalization error", Machine Learning 52, 2003), the variance of
the mean of n folds is estimated as (1 / n + validation rows / training rows) times the variance between
folds, instead of 1 / n times. This is a rule of thumb for random subsets; there is no unbiased estimate
of the variance of cross-validation. Repeats of one fold have the same rows and count as one value, their
mean, so n is the number of folds for any number of repeats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean, stdev

import numpy as np

from trainer.runs.evaluations import Interval, Metrics

_LEVEL = 0.95
_SHARES = frozenset(
    {
        "accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "auc",
        "average_precision", "top_3_accuracy", "top_5_accuracy",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoldAssignment:
    """The folds that networks were trained on.

    Attributes:
        folds: The fold of each network.
        ratio: Validation rows per training row, the mean over folds: 1 / (n - 1) with n folds, unless
            they are split by time.
    """

    folds: Sequence[int]
    ratio: float


def aggregate(
    members: Sequence[Metrics], folding: FoldAssignment | None = None
) -> dict[str, dict[str, Interval]]:
    """Aggregate metrics over networks: split → metric → interval, in order of first occurrence.

    Args:
        members: The metrics of each network; None or a non-finite value where undefined.
        folding: Their folds, if any.
    """
    names: dict[str, dict[str, None]] = {}
    for metrics in members:
        for split, values in metrics.items():
            names.setdefault(split, {}).update(dict.fromkeys(values))
    return {
        split: {
            name: _within_range(
                name, _aggregate([_value(member, split, name) for member in members], folding)
            )
            for name in split_names
        }
        for split, split_names in names.items()
    }


def _within_range(name: str, interval: Interval) -> Interval:
    """Clip the interval to the range of the metric: 0 to 1 for a share."""
    if interval.low is None or interval.high is None or name not in _SHARES:
        return interval
    return replace(interval, low=max(0.0, interval.low), high=min(1.0, interval.high))


def _value(member: Metrics, split: str, name: str) -> float | None:
    value = member[split][name] if split in member and name in member[split] else None
    return value if value is not None and math.isfinite(value) else None


def _aggregate(values: Sequence[float | None], folding: FoldAssignment | None) -> Interval:
    defined = [value for value in values if value is not None]
    if not defined:
        return Interval(None, None, None, None, 0)
    mean = fmean(defined)
    std = stdev(defined) if len(defined) > 1 else None
    units, overlap = defined, 0.0
    if folding is not None:
        by_fold: dict[int, list[float]] = {}
        for fold, value in zip(folding.folds, values, strict=True):
            if value is not None:
                by_fold.setdefault(fold, []).append(value)
        units, overlap = [fmean(fold_values) for fold_values in by_fold.values()], folding.ratio
    if len(units) < 2:
        return Interval(mean, std, None, None, len(defined))
    error = math.sqrt(1 / len(units) + overlap) * stdev(units)
    half_width = t_quantile(len(units) - 1) * error
    return Interval(mean, std, mean - half_width, mean + half_width, len(defined))


@cache
def t_quantile(degrees: int) -> float:
    """Return the t for which Student's distribution has a probability of 0.95 in [-t, t].

    The probability is a finite sum in the angle arctan(t / √degrees) (Abramowitz and Stegun, Handbook of
    Mathematical Functions, 26.7.3 and 26.7.4); the angle is found by bisection.

    Args:
        degrees: Degrees of freedom, at least 1.
    """
    low, high = 0.0, math.pi / 2
    # A float has 53 significant bits.
    for _ in range(60):
        angle = (low + high) / 2
        if _probability(angle, degrees) < _LEVEL:
            low = angle
        else:
            high = angle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _probability(angle: float, degrees: int) -> float:
    """Return the probability that |t| is at most √degrees · tan(angle)."""
    odd = degrees % 2
    # The ratios of successive terms of the sum: 2/3, 4/5, … or 1/2, 3/4, …
    steps = np.arange(1 + odd, degrees - 1, 2)
    terms = np.cumprod(steps / (steps + 1) * math.cos(angle) ** 2)
    total = 1 + float(terms.sum())
    if not odd:
        return math.sin(angle) * total
    if degrees == 1:
        return 2 / math.pi * angle
    return 2 / math.pi * (angle + math.sin(angle) * math.cos(angle) * total)
