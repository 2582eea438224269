"""Hyperparameter importance by functional ANOVA of a small random forest.

F. Hutter, H. Hoos and K. Leyton-Brown, An Efficient Approach for Assessing Hyperparameter Importance
(ICML 2014): a tree is constant on boxes of the unit cube, so its mean over all inputs but one can be
computed exactly. The importance of an input is the variance of that marginal mean, as a fraction of the
variance of the tree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_TREES = 32
_MIN_LEAF_ROWS = 3
_MAX_ROWS = 400
"""Maximum number of rows per tree; more make it slower, not better."""


@dataclass(frozen=True, slots=True)
class InputImportance:
    """The importance of each of d inputs.

    Attributes:
        share: The fraction of the variance that each input explains alone; the rest is due to
            interactions.
        std: The standard deviation of the shares over the trees.
        r2: The out-of-bag R² of the forest; 0 or less where it predicts nothing.
    """

    share: Float64Array
    std: Float64Array
    r2: float


@dataclass(frozen=True, slots=True)
class _Boxes:
    """A tree as its leaves: boxes [low, high) of the unit cube with their values."""

    low: Float64Array
    high: Float64Array
    value: Float64Array

    def predict(self, x: Float64Array) -> Float64Array:
        inside = (x[:, None, :] >= self.low) & (x[:, None, :] < self.high)
        leaf = inside.all(axis=2).argmax(axis=1)
        return np.asarray(self.value[leaf], np.float64)

    def shares(self) -> Float64Array | None:
        """Return the fraction of the variance that each input alone explains; None for a constant."""
        sides = self.high - self.low
        volume = sides.prod(axis=1)
        mean = volume @ self.value
        variance = volume @ (self.value - mean) ** 2
        if variance <= 0:
            return None
        shares = np.empty(self.low.shape[1])
        for index in range(len(shares)):
            edges = np.unique(np.concatenate([self.low[:, index], self.high[:, index]]))
            center, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
            covers = (self.low[:, index, None] <= center) & (center < self.high[:, index, None])
            marginal = (volume / sides[:, index] * self.value) @ covers
            shares[index] = width @ (marginal - mean) ** 2 / variance
        return shares


def input_importance(x: Float64Array, y: Float64Array, seed: int = 0) -> InputImportance | None:
    """Compute the importance of each input by a random forest.

    Args:
        x: The inputs (n, d) in [0, 1).
        y: The values (n,), finite.
        seed: Seed of the rows and inputs of the trees.

    Returns:
        None where the values do not vary.
    """
    if len(y) < 2 * _MIN_LEAF_ROWS or np.ptp(y) == 0:
        return None
    rng = np.random.default_rng(seed)
    shares = []
    sums, counts = np.zeros(len(y)), np.zeros(len(y))
    for _ in range(_TREES):
        sample = rng.integers(0, len(y), min(len(y), _MAX_ROWS))
        tree = _fit_tree(x[sample], y[sample], rng)
        tree_shares = tree.shares()
        if tree_shares is not None:
            shares.append(tree_shares)
        out_of_bag = np.setdiff1d(np.arange(len(y)), sample)
        sums[out_of_bag] += tree.predict(x[out_of_bag])
        counts[out_of_bag] += 1
    if not shares:
        return None
    predicted = counts > 0
    errors = (y[predicted] - sums[predicted] / counts[predicted]) ** 2
    variance = ((y[predicted] - y[predicted].mean()) ** 2).sum()
    r2 = 1 - errors.sum() / variance if variance > 0 else 0.0
    stacked = np.stack(shares)
    return InputImportance(stacked.mean(axis=0), stacked.std(axis=0), float(r2))


def _fit_tree(x: Float64Array, y: Float64Array, rng: np.random.Generator) -> _Boxes:
    inputs = x.shape[1]
    low, high, value = [], [], []
    pending: list[tuple[Indices, Float64Array, Float64Array]] = [
        (np.arange(len(y)), np.zeros(inputs), np.ones(inputs))
    ]
    while pending:
        rows, start, end = pending.pop()
        split = _best_split(x[rows], y[rows], rng)
        if split is None:
            low.append(start)
            high.append(end)
            value.append(y[rows].mean())
            continue
        index, threshold = split
        below = x[rows, index] < threshold
        split_high, split_low = end.copy(), start.copy()
        split_high[index] = split_low[index] = threshold
        pending.append((rows[below], start, split_high))
        pending.append((rows[~below], split_low, end))
    return _Boxes(np.array(low), np.array(high), np.array(value))


def _best_split(
    x: Float64Array, y: Float64Array, rng: np.random.Generator
) -> tuple[int, float] | None:
    """Return the input and threshold with the lowest squared error, among two thirds of the inputs."""
    count, inputs = x.shape
    if count < 2 * _MIN_LEAF_ROWS or np.ptp(y) == 0:
        return None
    candidates = rng.permutation(inputs)[: max(1, -(-2 * inputs // 3))]
    order = np.argsort(x[:, candidates], axis=0, kind="stable")
    ordered, values = np.take_along_axis(x[:, candidates], order, axis=0), y[order]
    sums = np.cumsum(values, axis=0)[:-1]
    sizes = np.arange(1, count)[:, None]
    gain = sums**2 / sizes + (values.sum(axis=0) - sums) ** 2 / (count - sizes)
    is_split = ordered[1:] > ordered[:-1]
    is_split &= (sizes >= _MIN_LEAF_ROWS) & (count - sizes >= _MIN_LEAF_ROWS)
    gain = np.where(is_split, gain, -np.inf)
    row, column = np.unravel_index(int(gain.argmax()), gain.shape)
    if not np.isfinite(gain[row, column]):
        return None
    threshold = (ordered[row, column] + ordered[row + 1, column]) / 2
    return int(candidates[column]), float(threshold)
