"""Can the probabilities be trusted: reliability, its error, and one temperature that mends it.

Owns: what is said against what is seen. Does not own: thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainer.config.data import Task
from trainer.evaluation.answers import Doubles, Floats, Integers
from trainer.evaluation.intervals import rows_worth, wilson
from trainer.evaluation.links import logits, probabilities

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """What was said and what was seen, in each bin that has rows; every array is (bins,).

    Attributes:
        low: Lower edges of the bins.
        high: Upper edges.
        count: Rows.
        said: Mean probability.
        seen: Observed share of positive rows, weighted where there are weights.
        seen_low: Low end of its Wilson interval.
        seen_high: High end.
    """

    low: Doubles
    high: Doubles
    count: Integers
    said: Doubles
    seen: Doubles
    seen_low: Doubles
    seen_high: Doubles


def top_class(y: Floats, p: Floats) -> tuple[Doubles, Doubles]:
    """Of several classes: (n,) whether the likeliest is right, as 0 or 1, and its probability."""
    likeliest = np.argmax(p, axis=1)[:, None]
    right = np.take_along_axis(y, likeliest, axis=1)[:, 0] > 0.5
    return right.astype(np.float64), np.take_along_axis(p, likeliest, axis=1)[:, 0].astype(float)


def reliability(
    y: Floats,
    p: Floats,
    *,
    by: Literal["width", "mass"] = "width",
    bins: int = BINS,
    weight: Doubles | None = None,
    level: float = 0.95,
) -> Reliability:
    """The reliability curve of one column (Murphy & Winkler 1977).

    Args:
        y: (n,) 0 or 1.
        p: (n,) probabilities that it is 1. For several classes see `top_class`.
        by: Bins of equal width over [0, 1], or of equally many rows; equal probabilities share a bin.
        bins: At most how many.
        weight: (n,) or None.
        level: That of the intervals.
    """
    said = p.astype(np.float64)
    edges, place = _place(said, by, bins)
    rows = np.ones(len(said)) if weight is None else weight.astype(np.float64)
    count = np.bincount(place, minlength=len(edges) - 1)
    mass = np.bincount(place, rows, len(count))
    kept = np.flatnonzero(mass > 0)
    mean = np.bincount(place, rows * said, len(count))[kept] / mass[kept]
    seen = np.bincount(place, rows * y, len(count))[kept] / mass[kept]
    worth = np.array([rows_worth(rows[place == each]) for each in kept])
    low, high = wilson(seen, worth, level)
    return Reliability(
        edges[kept],
        edges[kept + 1],
        count[kept],
        mean,
        seen,
        low,
        high,
    )


def calibration_error(
    task: Task,
    y: Floats,
    p: Floats,
    *,
    by: Literal["width", "mass"] = "width",
    bins: int = BINS,
    weight: Doubles | None = None,
) -> float:
    """The expected calibration error: the mean over rows of |said - seen| in a row's bin.

    Naeini et al. 2015; Guo et al. 2017. It depends on the bins, and is above 0 by chance alone where
    rows are few.

    Args:
        task: binary: of the positive class. multiclass: of the likeliest class. multilabel: the mean
            over the columns.
        y: (n, k) as `trainer.models.metrics.compute_metrics` wants it.
        p: (n, k).
        by: As for `reliability`.
        bins: At most how many.
        weight: (n,) or None.

    Returns:
        nan without rows.
    """
    if task == "multiclass" and len(p):
        right, said = top_class(y, p)
        y, p = right[:, None], said[:, None]
    rows = np.ones(len(y)) if weight is None else weight
    if not rows.sum() > 0:
        return float("nan")
    errors = []
    for truth, said in zip(y.T, p.T.astype(np.float64), strict=True):
        _, place = _place(said, by, bins)
        gaps = np.abs(np.bincount(place, rows * (said - truth)))
        errors.append(gaps.sum() / rows.sum())
    return float(np.mean(errors))


def _place(
    said: Doubles, by: Literal["width", "mass"], bins: int
) -> tuple[Doubles, npt.NDArray[np.intp]]:
    """The edges of the bins, and the bin of each probability: from its lower edge on."""
    edges = np.linspace(0, 1, bins + 1)
    if by == "mass" and len(said):
        edges = np.unique(np.quantile(said, edges))
        if len(edges) == 1:
            edges = np.repeat(edges, 2)
    place = np.searchsorted(edges, said, side="right") - 1
    return edges, np.clip(place, 0, len(edges) - 2)


def fit_temperature(task: Task, y: Floats, p: Floats, weight: Doubles | None = None) -> float:
    """The temperature T at which these rows have the least log loss (Guo et al. 2017).

    Logits are log p for a softmax, log p - log(1 - p) for sigmoids; they are divided by T, one for all
    columns. Above 1 the probabilities were too sure, below 1 not sure enough. The log loss is convex
    in 1/T, so Newton's steps are kept between two ends that draw together.

    Args:
        task: binary, multiclass or multilabel.
        y: (n, k) of validation rows, as `trainer.models.metrics.compute_metrics` wants it.
        p: (n, k) probabilities.
        weight: (n,) or None.

    Returns:
        From 0.05 to 20, either end where the loss still falls there (every row is called rightly, or
        none better than by chance); 1 where nothing can be told.
    """
    z = logits(task, p)
    rows = np.ones(len(z)) if weight is None else weight.astype(np.float64)

    def slope(inverse: float) -> tuple[float, float]:
        """First and second derivative of the loss by 1/T."""
        said = probabilities(task, z * inverse)
        if task == "multiclass":
            mean = (said * z).sum(axis=1)
            first = mean - (y * z).sum(axis=1)
            second = (said * z**2).sum(axis=1) - mean**2
        else:
            first = ((said - y) * z).sum(axis=1)
            second = (said * (1 - said) * z**2).sum(axis=1)
        return float(rows @ first), float(rows @ second)

    low, high = 1 / HOTTEST, 1 / COLDEST
    apart = z - z[:, :1] if task == "multiclass" else z
    if not (rows[:, None] * apart).any():
        return 1.0
    if slope(low)[0] >= 0:
        return HOTTEST
    if slope(high)[0] <= 0:
        return COLDEST
    inverse = 1.0
    for _ in range(100):
        first, second = slope(inverse)
        low, high = (inverse, high) if first < 0 else (low, inverse)
        step = first / second if second > 0 else np.inf
        following = inverse - step
        if not low < following < high:
            following = float(np.sqrt(low * high))
        if abs(following - inverse) <= 1e-10 * inverse:
            break
        inverse = following
    return float(1 / inverse)


def apply_temperature(task: Task, p: Floats, temperature: float) -> Doubles:
    """The probabilities with their logits divided by `temperature`: (n, k)."""
    return probabilities(task, logits(task, p) / temperature)
