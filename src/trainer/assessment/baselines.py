"""Baselines to compare a run with: the prior, and a linear model on the encoded features.

The columns of the linear model are standardized first (mean 0, standard deviation 1 over the weighted
training rows), and the intercept is not penalized:

- classification: logistic regression, ½‖w‖² + Σ loss over rows (C = 1 in scikit-learn); one sigmoid per
  column, or one softmax over the classes (Hastie, Tibshirani, Friedman, The Elements of Statistical
  Learning, 2nd ed., 4.4). It is minimized by L-BFGS (Nocedal & Wright, Numerical Optimization, 2nd
  ed., algorithms 7.4 and 7.5, ten pairs; backtracking line search with Armijo's condition);
- regression: ridge regression, ‖w‖² + Σ (y - xw)², by the normal equations (ibid., 3.4.1), in the
  smaller of the primal and the dual form; with texts by L-BFGS.

The TF-IDF weights of texts are not standardized, and their coefficients have a quarter of the penalty.

With more than 100,000 training rows, a fixed sample of 100,000 is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainer.assessment.sparse_terms import SparseTerms
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.activations import probabilities
from trainer.metrics.arrays import Float64Array, FloatArray, Int64Array
from trainer.task_names import TaskName

MAX_ROWS = 100_000
PENALTY = 1.0
MAX_ITERATIONS = 500
PAIRS = 10
TOLERANCE = 1e-4
"""Largest gradient entry per row at which a logistic model has converged, as in scikit-learn. With 1e-6,
the fit takes up to three times as long, and the log loss on other rows hardly changes."""
PREDICT_ROWS = 65_536
MIN_CURVATURE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """A sigmoid, softmax or identity of x @ weights + terms @ term_weights + intercept."""

    task: TaskName
    weights: Float64Array
    """(d, k), for features that are not standardized."""
    intercept: Float64Array
    """(k,)"""
    term_weights: Float64Array | None = None
    """(terms, k); None without texts."""

    def predict(self, x: FloatArray, terms: SparseTerms | None = None) -> Float64Array:
        """Return probabilities, or values (n, k), for features (n, d) and texts."""
        outputs = np.empty((len(x), len(self.intercept)))
        for start in range(0, len(x), PREDICT_ROWS):
            part = slice(start, start + PREDICT_ROWS)
            outputs[part] = x[part].astype(np.float64) @ self.weights + self.intercept
        if terms is not None and self.term_weights is not None:
            outputs += terms @ self.term_weights
        has_classes = TASK_RULES[self.task].has_classes
        return probabilities(self.task, outputs) if has_classes else outputs


def fit_prior(y: FloatArray, weight: FloatArray | None = None) -> Float64Array:
    """Return the class frequencies of the training rows, or the mean of a regression target: (k,).

    Args:
        y: (n, k) as `trainer.metrics.compute.compute_metrics` takes it; n at least 1.
        weight: (n,) with a sum above 0, or None.
    """
    return np.asarray(np.average(y.astype(np.float64), axis=0, weights=weight))


def sampled_rows(rows: int) -> Int64Array | None:
    """Return the training rows that a linear model is fitted on, in ascending order; None for all."""
    if rows <= MAX_ROWS:
        return None
    return np.sort(np.random.default_rng(0).choice(rows, MAX_ROWS, replace=False))


def fit_linear(
    task: TaskName,
    x: FloatArray,
    y: FloatArray,
    weight: Float64Array | None = None,
    terms: SparseTerms | None = None,
    start: LinearModel | None = None,
) -> LinearModel:
    """Fit the linear model on training rows.

    Args:
        task: The task.
        x: (n, d) finite features; n at least 1. Constant columns get the weight 0.
        y: (n, k) as `trainer.metrics.compute.compute_metrics` takes it.
        weight: (n,) with a sum above 0, or None. A weight of 2 counts the row twice.
        terms: The texts of the rows, or None.
        start: A model of similar rows, from which L-BFGS starts if its loss is lower than that of the
            prior; ignored if its columns or terms are others.
    """
    sample = sampled_rows(len(x))
    if sample is not None:
        x, y = x[sample], y[sample]
        weight = None if weight is None else weight[sample]
        terms = None if terms is None else terms.select(sample)
    rows = np.ones(len(x)) if weight is None else weight.astype(np.float64)
    targets = y.astype(np.float64)
    standardized = x.astype(np.float64)
    mean = rows @ standardized / rows.sum()
    standardized -= mean
    std = np.sqrt(rows @ standardized**2 / rows.sum())
    varies = std > 1e-7 * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
    scale = np.where(varies, std, 1.0)
    standardized /= scale
    standardized[:, ~varies] = 0.0
    width = x.shape[1]
    if TASK_RULES[task].has_classes or terms is not None:
        first = None if start is None else _first_table(start, mean, np.where(varies, scale, 0.0))
        weights, intercept = _iterated(task, standardized, targets, rows, terms, first)
    else:
        weights, intercept = _ridge(standardized, targets, rows)
    term_weights = None if terms is None else weights[width:]
    weights = weights[:width] / scale[:, None]
    return LinearModel(task, weights, intercept - mean @ weights, term_weights)


def _first_table(start: LinearModel, mean: Float64Array, scale: Float64Array) -> Float64Array:
    """Return the coefficients (d + terms + 1, k) of a model for standardized columns.

    Args:
        start: The model; if it has another number of columns, the result is empty.
        mean: The means of the columns, (d,).
        scale: Their standard deviations, (d,); 0 for constant columns, whose coefficients are 0.
    """
    if len(start.weights) != len(scale):
        return np.empty((0, 0))
    parts = [start.weights * scale[:, None]]
    if start.term_weights is not None:
        parts.append(start.term_weights)
    return np.concatenate([*parts, (start.intercept + mean @ start.weights)[None]])


def _ridge(
    x: Float64Array, y: Float64Array, rows: Float64Array
) -> tuple[Float64Array, Float64Array]:
    mean = rows @ y / rows.sum()
    root = np.sqrt(rows)[:, None]
    a, b = x * root, (y - mean) * root
    n, d = a.shape
    if d <= n:
        weights = np.linalg.solve(a.T @ a + PENALTY * np.eye(d), a.T @ b)
    else:
        weights = a.T @ np.linalg.solve(a @ a.T + PENALTY * np.eye(n), b)
    return weights, mean


def _iterated(
    task: TaskName,
    x: Float64Array,
    y: Float64Array,
    rows: Float64Array,
    terms: SparseTerms | None,
    first: Float64Array | None = None,
) -> tuple[Float64Array, Float64Array]:
    """Return the weights (d, k) of standardized columns and of terms, and the intercept (k,).

    Starts from the coefficients `first` (d + 1, k), the last of which is the intercept, if their loss is
    lower than that of the prior.
    """
    (n, width), k = x.shape, y.shape[1]
    d = width + (0 if terms is None else terms.shape[1])
    has_classes, is_softmax = TASK_RULES[task].has_classes, TASK_RULES[task].predicts_most_likely

    def loss(flat: Float64Array) -> tuple[float, Float64Array]:
        table = flat.reshape(d + 1, k)
        z = x @ table[:width] + table[d]
        if terms is not None:
            z += terms @ table[width:d]
        if not has_classes:
            per_row = 0.5 * np.square(z - y).sum(axis=1)
            p = z
        elif is_softmax:
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
        gradient = np.empty_like(table)
        np.matmul(x.T, p, out=gradient[:width])
        if terms is not None:
            gradient[width:d] = terms.transposed_product(p)
        gradient[:d] += PENALTY * table[:d]
        gradient[d] = p.sum(axis=0)
        value = float(rows @ per_row + 0.5 * PENALTY * np.vdot(table[:d], table[:d]))
        return value, gradient.ravel()

    start = np.zeros((d + 1, k))
    start[d] = rows @ y / rows.sum()
    if has_classes:
        share = np.clip(start[d], 0.5 / (n + 1), 1 - 0.5 / (n + 1))
        start[d] = np.log(share) if is_softmax else np.log(share) - np.log1p(-share)
    if first is not None and first.shape == start.shape and loss(first)[0] < loss(start)[0]:
        start = first
    solution = _minimize(loss, start.ravel(), TOLERANCE * rows.sum()).reshape(d + 1, k)
    return solution[:d].copy(), solution[d].copy()


def _minimize(
    loss: Callable[[Float64Array], tuple[float, Float64Array]],
    start: Float64Array,
    tolerance: float,
) -> Float64Array:
    """Run L-BFGS until the largest gradient entry is within `tolerance` or no step helps."""
    point = start
    value, gradient = loss(point)
    pairs: list[tuple[Float64Array, Float64Array, float]] = []
    for _ in range(MAX_ITERATIONS):
        if np.abs(gradient).max() <= tolerance:
            break
        direction = _direction(gradient, pairs)
        slope = float(gradient @ direction)
        length = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(gradient).max()))
        accepted = _backtrack(loss, point, value, direction, slope, length)
        if accepted is None:
            if not pairs:
                break
            pairs.clear()
            continue
        new_point, value, new_gradient = accepted
        step, change = new_point - point, new_gradient - gradient
        point, gradient = new_point, new_gradient
        if (curvature := float(step @ change)) > MIN_CURVATURE * float(change @ change):
            pairs = [*pairs[-(PAIRS - 1) :], (step, change, 1 / curvature)]
    return point


def _direction(
    gradient: Float64Array, pairs: list[tuple[Float64Array, Float64Array, float]]
) -> Float64Array:
    """Run the two-loop recursion of algorithm 7.4."""
    direction = -gradient
    alphas = []
    for step, change, rho in reversed(pairs):
        alpha = rho * float(step @ direction)
        direction = direction - alpha * change
        alphas.append(alpha)
    if pairs:
        _, change, rho = pairs[-1]
        direction = direction / (rho * float(change @ change))
    for (step, change, rho), alpha in zip(pairs, reversed(alphas), strict=True):
        direction = direction + step * (alpha - rho * float(change @ direction))
    return direction


def _backtrack(
    loss: Callable[[Float64Array], tuple[float, Float64Array]],
    point: Float64Array,
    value: float,
    direction: Float64Array,
    slope: float,
    length: float,
) -> tuple[Float64Array, float, Float64Array] | None:
    """Halve the step until it meets Armijo's condition; None after 30 halvings."""
    for _ in range(30):
        new_point = point + length * direction
        new_value, gradient = loss(new_point)
        if new_value <= value + 1e-4 * length * slope:
            return new_point, new_value, gradient
        length /= 2
    return None
