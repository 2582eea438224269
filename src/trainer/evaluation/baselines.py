"""Better than what: answers that cost nothing, and those of a linear model.

Owns: the prior and the linear model, from encoded features to answers. Does not own: what is encoded,
how answers are judged.

The linear model has its columns standardised first (mean 0, deviation 1 by the weighted training rows),
and an intercept that is not penalised:

- classes: logistic regression, ½‖w‖² + Σ loss over rows, C = 1 in scikit-learn's words; one sigmoid a
  column, or one softmax over the classes (Hastie, Tibshirani, Friedman, The Elements of Statistical
  Learning, 2nd ed., 4.4). It is minimised by L-BFGS (Nocedal & Wright, Numerical Optimization, 2nd
  ed., algorithms 7.4 and 7.5, ten pairs; steps shortened until Armijo's condition holds);
- numbers: ridge regression, ‖w‖² + Σ (y - xw)², by the normal equations (ibid., 3.4.1), in the form
  that is smaller.

Of more than 100,000 training rows 100,000 are drawn, always the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainer.config.data import Task
from trainer.evaluation.answers import Doubles, Floats
from trainer.evaluation.links import probabilities

MOST_ROWS = 100_000
PENALTY = 1.0
MOST_STEPS = 500
PAIRS = 10
TOLERANCE = 1e-6
ROWS_AT_ONCE = 65_536
LEAST = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class PriorModel:
    """Says the same of every row."""

    task: Task
    answer: Doubles
    """(k,)"""

    def answers(self, x: Floats) -> Doubles:
        """The shares of the classes, or the mean, for each of the rows of `x`: (n, k)."""
        return np.tile(self.answer, (len(x), 1))


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """A sigmoid, a softmax or nothing over x @ weights + intercept."""

    task: Task
    weights: Doubles
    """(d, k), for x as it is given, not standardised."""
    intercept: Doubles
    """(k,)"""

    def answers(self, x: Floats) -> Doubles:
        """Probabilities, or numbers, for each of the rows of `x` (n, d): (n, k)."""
        found = np.empty((len(x), len(self.intercept)))
        for begin in range(0, len(x), ROWS_AT_ONCE):
            part = slice(begin, begin + ROWS_AT_ONCE)
            found[part] = x[part].astype(np.float64) @ self.weights + self.intercept
        return found if self.task == "regression" else probabilities(self.task, found)


def fit_prior(task: Task, y: Floats, weight: Doubles | None = None) -> PriorModel:
    """The shares of the classes among the training rows, or the mean of numbers.

    Args:
        task: What is predicted.
        y: (n, k) as `trainer.models.metrics.compute_metrics` wants it; n at least 1.
        weight: (n,) with a sum above 0, or None.
    """
    return PriorModel(task, np.average(y.astype(np.float64), axis=0, weights=weight))


def fit_linear(task: Task, x: Floats, y: Floats, weight: Doubles | None = None) -> LinearModel:
    """The linear model of the training rows.

    Args:
        task: What is predicted.
        x: (n, d) finite features; n at least 1. A column that does not vary gets the weight 0.
        y: (n, k) as `trainer.models.metrics.compute_metrics` wants it.
        weight: (n,) with a sum above 0, or None. A weight of 2 counts as the row twice.
    """
    if len(x) > MOST_ROWS:
        drawn = np.sort(np.random.default_rng(0).choice(len(x), MOST_ROWS, replace=False))
        x, y = x[drawn], y[drawn]
        weight = None if weight is None else weight[drawn]
    rows = np.ones(len(x)) if weight is None else weight.astype(np.float64)
    targets = y.astype(np.float64)
    standard = x.astype(np.float64)
    mean = rows @ standard / rows.sum()
    standard -= mean
    deviation = np.sqrt(rows @ standard**2 / rows.sum())
    varies = deviation > 1e-7 * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
    scale = np.where(varies, deviation, 1.0)
    standard /= scale
    standard[:, ~varies] = 0.0
    if task == "regression":
        weights, intercept = _ridge(standard, targets, rows)
    else:
        weights, intercept = _logistic(task, standard, targets, rows)
    weights /= scale[:, None]
    return LinearModel(task, weights, intercept - mean @ weights)


def _ridge(x: Doubles, y: Doubles, rows: Doubles) -> tuple[Doubles, Doubles]:
    mean = rows @ y / rows.sum()
    root = np.sqrt(rows)[:, None]
    wide, apart = x * root, (y - mean) * root
    n, d = wide.shape
    if d <= n:
        weights = np.linalg.solve(wide.T @ wide + PENALTY * np.eye(d), wide.T @ apart)
    else:
        weights = wide.T @ np.linalg.solve(wide @ wide.T + PENALTY * np.eye(n), apart)
    return weights, mean


def _logistic(task: Task, x: Doubles, y: Doubles, rows: Doubles) -> tuple[Doubles, Doubles]:
    """Weights (d, k) and intercept (k,) of standardised columns."""
    (n, d), k = x.shape, y.shape[1]

    def loss(flat: Doubles) -> tuple[float, Doubles]:
        table = flat.reshape(d + 1, k)
        z = x @ table[:d] + table[d]
        if task == "multiclass":
            z -= z.max(axis=1, keepdims=True)
            p = np.exp(z)
            sums = p.sum(axis=1)
            per_row = np.log(sums) - np.einsum("nk,nk->n", y, z)
            p /= sums[:, None]
        else:
            per_row = (np.logaddexp(0.0, z) - y * z).sum(axis=1)
            p = probabilities(task, z)
        p -= y
        p *= rows[:, None]
        slope = np.empty_like(table)
        np.matmul(x.T, p, out=slope[:d])
        slope[:d] += PENALTY * table[:d]
        slope[d] = p.sum(axis=0)
        value = float(rows @ per_row + 0.5 * PENALTY * np.vdot(table[:d], table[:d]))
        return value, slope.ravel()

    share = np.clip(rows @ y / rows.sum(), 0.5 / (n + 1), 1 - 0.5 / (n + 1))
    start = np.zeros((d + 1, k))
    start[d] = np.log(share) if task == "multiclass" else np.log(share) - np.log1p(-share)
    found = _minimise(loss, start.ravel(), TOLERANCE * rows.sum()).reshape(d + 1, k)
    return found[:d].copy(), found[d].copy()


def _minimise(
    loss: Callable[[Doubles], tuple[float, Doubles]], start: Doubles, tolerance: float
) -> Doubles:
    """L-BFGS, until no part of the slope is above `tolerance` or a step no longer helps."""
    point = start
    value, slope = loss(point)
    moves: list[tuple[Doubles, Doubles, float]] = []
    for _ in range(MOST_STEPS):
        if np.abs(slope).max() <= tolerance:
            break
        direction = _direction(slope, moves)
        downhill = float(slope @ direction)
        length = 1.0 if moves else min(1.0, 1.0 / float(np.abs(slope).max()))
        found = _shorten(loss, point, value, direction, downhill, length)
        if found is None:
            if not moves:
                break
            moves.clear()
            continue
        following, value, new_slope = found
        step, change = following - point, new_slope - slope
        point, slope = following, new_slope
        if (curvature := float(step @ change)) > LEAST * float(change @ change):
            moves = [*moves[-(PAIRS - 1) :], (step, change, 1 / curvature)]
    return point


def _direction(slope: Doubles, moves: list[tuple[Doubles, Doubles, float]]) -> Doubles:
    """The two loops of algorithm 7.4."""
    direction = -slope
    shares = []
    for step, change, inverse in reversed(moves):
        part = inverse * float(step @ direction)
        direction = direction - part * change
        shares.append(part)
    if moves:
        _, change, inverse = moves[-1]
        direction = direction / (inverse * float(change @ change))
    for (step, change, inverse), part in zip(moves, reversed(shares), strict=True):
        direction = direction + step * (part - inverse * float(change @ direction))
    return direction


def _shorten(
    loss: Callable[[Doubles], tuple[float, Doubles]],
    point: Doubles,
    value: float,
    direction: Doubles,
    downhill: float,
    length: float,
) -> tuple[Doubles, float, Doubles] | None:
    """The first of the halved steps that lowers the loss enough, or None."""
    for _ in range(30):
        following = point + length * direction
        new_value, slope = loss(following)
        if new_value <= value + 1e-4 * length * downhill:
            return following, new_value, slope
        length /= 2
    return None
