"""A measure of answers and how much each row has to do with it.

The influence of row i is u_i = w_i ∂value/∂w_i, its weight times the derivative of the value by it. They
sum to 0, those of a difference of two values are the difference of theirs, and Σ u_i² estimates the
variance of the value over samples of rows: the infinitesimal jackknife (Efron, The Jackknife, the
Bootstrap and Other Resampling Plans, 1982, chapter 6). For the area under the ROC curve that is the
estimate of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), but for the divisor m in place of
m - 1. It takes one sort where a bootstrap takes hundreds of resamples.

Owns: the headline measure of a task with its influences. Does not own: its definition, which is that
of `trainer.models.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trainer.config.data import Task
from trainer.evaluation.answers import Doubles, Floats

Headline = Literal["auc", "accuracy", "r2", "rmse"]

_MOST_RANKED = 10
_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Influences:
    """A measure.

    Attributes:
        value: Its value.
        rows: (n,) the influence of each row.
    """

    value: float
    rows: Doubles


def headline(task: Task, y: Floats, weight: Floats | None) -> Headline:
    """The measure that says most shortly how good answers for these rows are.

    Two classes: auc. Several classes: accuracy. Yes/no columns: auc, the macro average, up to ten of
    them. Where all rows are of one class, or of one in a column, and with more columns: accuracy.
    Numbers: r2; rmse where a column does not vary.

    Args:
        task: What is predicted.
        y: Targets (n, k), as `trainer.models.metrics.compute_metrics` has them.
        weight: (n,) or None.
    """
    there = y if weight is None else y[weight > 0]
    if task == "regression":
        varies = len(there) > 1 and (there.min(axis=0) < there.max(axis=0)).all()
        return "r2" if varies else "rmse"
    if task == "multiclass":
        return "accuracy"
    share = there.mean(axis=0) if len(there) else np.zeros(y.shape[1])
    ranked = y.shape[1] <= _MOST_RANKED and ((share > 0) & (share < 1)).all()
    return "auc" if ranked else "accuracy"


def is_better_high(measure: Headline) -> bool:
    """Whether a higher value is a better one."""
    return measure != "rmse"


def influences(
    measure: Headline, task: Task, y: Floats, p: Floats, weight: Floats | None
) -> Influences:
    """The measure of answers, with the influence of each row; nan where an answer is not finite.

    Args:
        measure: What `headline` says of these targets.
        task: What is predicted.
        y: Targets (n, k).
        p: Answers (n, k).
        weight: (n,) of at least 0, not all 0; None for equal weights.
    """
    if not np.isfinite(p).all():
        return Influences(float("nan"), np.full(len(y), np.nan))
    w = np.ones(len(y)) if weight is None else weight.astype(np.float64)
    match measure:
        case "auc":
            areas = [_auc(y[:, at], p[:, at], w) for at in range(y.shape[1])]
            return _mean(areas)
        case "accuracy":
            return _average(_rights(task, y, p), w)
        case "r2":
            return _mean([_r2(*pair, w) for pair in _numbers(y, p)])
        case "rmse":
            return _mean([_rmse(*pair, w) for pair in _numbers(y, p)])


def _numbers(y: Floats, p: Floats) -> list[tuple[Doubles, Doubles]]:
    """Truth and answer of each column."""
    truth, said = y.astype(np.float64), p.astype(np.float64)
    return [(truth[:, at], said[:, at]) for at in range(y.shape[1])]


def _mean(parts: list[Influences]) -> Influences:
    value = float(np.mean([part.value for part in parts]))
    return Influences(value, np.mean([part.rows for part in parts], axis=0))


def _average(values: Doubles, w: Doubles) -> Influences:
    """The weighted mean."""
    total = w.sum()
    value = float(np.dot(w, values) / total)
    return Influences(value, w * (values - value) / total)


def _rights(task: Task, y: Floats, p: Floats) -> Doubles:
    """(n,) the share of a row's labels that are right."""
    if task == "multiclass":
        return np.asarray(y.argmax(axis=1) == p.argmax(axis=1), np.float64)
    right = (p.astype(np.float64) >= _THRESHOLD) == (y > 0.5)
    return np.asarray(right.mean(axis=1), np.float64)


def _auc(truth: Floats, score: Floats, w: Doubles) -> Influences:
    """A positive's part is the share of negatives below it, half of those beside it; and the reverse."""
    is_positive = truth > 0.5
    positive, negative = w * is_positive, w * ~is_positive
    all_positive, all_negative = positive.sum(), negative.sum()
    order = np.argsort(score)
    ranked = score[order]
    positive, negative = positive[order] / all_positive, negative[order] / all_negative
    changes = ranked[1:] != ranked[:-1]
    if changes.all():
        below = np.cumsum(negative) - negative / 2
        above = 1 - (np.cumsum(positive) - positive / 2)
    else:
        first = np.flatnonzero(np.concatenate([[True], changes]))
        distinct = np.concatenate([[0], np.cumsum(changes)])
        beside, with_it = np.add.reduceat(negative, first), np.add.reduceat(positive, first)
        below = (np.cumsum(beside) - beside / 2)[distinct]
        above = (1 - (np.cumsum(with_it) - with_it / 2))[distinct]
    value = float(np.dot(positive, below))
    rows = np.empty_like(positive)
    rows[order] = positive * (below - value) + negative * (above - value)
    return Influences(value, rows)


def _r2(y: Doubles, p: Doubles, w: Doubles) -> Influences:
    away = (y - np.average(y, weights=w)) ** 2
    wrong = (y - p) ** 2
    total = np.dot(w, away)
    lost = np.dot(w, wrong) / total
    return Influences(float(1 - lost), w * (lost * away - wrong) / total)


def _rmse(y: Doubles, p: Doubles, w: Doubles) -> Influences:
    squares = _average((y - p) ** 2, w)
    root = float(np.sqrt(squares.value))
    return Influences(root, squares.rows / (2 * root) if root > 0 else np.zeros_like(w))
