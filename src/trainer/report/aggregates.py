"""The metrics of many networks as one: mean, spread and interval.

The interval is that of the mean over trainings: how far the mean could be off because these networks
began with these seeds and were trained on these rows. It says nothing of other test rows, which all
networks share.

Without folds it is Student's, t · sd / √n. With folds the networks are not independent, since each two
folds share most of their training rows, and Student's interval would be too narrow: after Nadeau and
Bengio ("Inference for the generalization error", Machine Learning 52, 2003) the variance of the mean
of n folds is taken as (1 / n + validation rows / training rows) times that between the folds, instead
of 1 / n times. It is a rule of thumb, made for random subsets; there is no unbiased estimate of the
variance of cross-validation. Repeats of one fold have the same rows, and so count as one value, their
mean: n is the number of folds, however many repeats there are.

Owns: the arithmetic. Does not own: where the metrics come from, how they are shown.
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
    """How networks were trained on folds.

    Attributes:
        folds: The fold of each network.
        ratio: Validation rows for each training row, the mean over folds: with n folds 1 / (n - 1), but
            by time.
    """

    folds: Sequence[int]
    ratio: float


def aggregate(
    members: Sequence[Metrics], folding: FoldAssignment | None = None
) -> dict[str, dict[str, Interval]]:
    """Split → metric → what it is over networks, in the order in which they are first met.

    Args:
        members: The metrics of each network; None or a number that is not finite where it has no value.
        folding: Their folds, if they have any.
    """
    names: dict[str, dict[str, None]] = {}
    for metrics in members:
        for split, measured in metrics.items():
            names.setdefault(split, {}).update(dict.fromkeys(measured))
    return {
        split: {
            name: _within_range(
                name, _aggregate([_value(member, split, name) for member in members], folding)
            )
            for name in of_split
        }
        for split, of_split in names.items()
    }


def _within_range(name: str, interval: Interval) -> Interval:
    """The interval without what the metric cannot be: a share is at least 0 and at most 1."""
    if interval.low is None or interval.high is None or name not in _SHARES:
        return interval
    return replace(interval, low=max(0.0, interval.low), high=min(1.0, interval.high))


def _value(member: Metrics, split: str, name: str) -> float | None:
    value = member[split][name] if split in member and name in member[split] else None
    return value if value is not None and math.isfinite(value) else None


def _aggregate(values: Sequence[float | None], folding: FoldAssignment | None) -> Interval:
    known = [value for value in values if value is not None]
    if not known:
        return Interval(None, None, None, None, 0)
    mean = fmean(known)
    sd = stdev(known) if len(known) > 1 else None
    units, overlap = known, 0.0
    if folding is not None:
        by_fold: dict[int, list[float]] = {}
        for fold, value in zip(folding.folds, values, strict=True):
            if value is not None:
                by_fold.setdefault(fold, []).append(value)
        units, overlap = [fmean(of_fold) for of_fold in by_fold.values()], folding.ratio
    if len(units) < 2:
        return Interval(mean, sd, None, None, len(known))
    error = math.sqrt(1 / len(units) + overlap) * stdev(units)
    half = t_quantile(len(units) - 1) * error
    return Interval(mean, sd, mean - half, mean + half, len(known))


@cache
def t_quantile(degrees: int) -> float:
    """The t that Student's distribution keeps within [-t, t] 95 times in a hundred.

    Args:
        degrees: Degrees of freedom, at least 1.

    The probability of [-t, t] is a finite sum in the angle arctan(t / √degrees) (Abramowitz and Stegun,
    Handbook of Mathematical Functions, 26.7.3 and 26.7.4); the angle is found by halving.
    """
    low, high = 0.0, math.pi / 2
    # A double has 53 binary places.
    for _ in range(60):
        angle = (low + high) / 2
        if _within(angle, degrees) < _LEVEL:
            low = angle
        else:
            high = angle
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _within(angle: float, degrees: int) -> float:
    """The probability that |t| is at most √degrees · tan(angle)."""
    odd = degrees % 2
    # The factors from one term of the sum to the next: 2/3, 4/5, … or 1/2, 3/4, …
    steps = np.arange(1 + odd, degrees - 1, 2)
    terms = np.cumprod(steps / (steps + 1) * math.cos(angle) ** 2)
    total = 1 + float(terms.sum())
    if not odd:
        return math.sin(angle) * total
    if degrees == 1:
        return 2 / math.pi * angle
    return 2 / math.pi * (angle + math.sin(angle) * math.cos(angle) * total)
