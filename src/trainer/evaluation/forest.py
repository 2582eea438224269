"""A small random forest, and how much of what it predicts varies with each input alone.

Functional analysis of variance after F. Hutter, H. Hoos and K. Leyton-Brown, An Efficient Approach for
Assessing Hyperparameter Importance (ICML 2014): a tree is constant on boxes of the unit cube, so that
its mean over all inputs but one can be computed exactly. An input's importance is the variance of that
mean over the input, as a share of the variance of the tree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_TREES = 32
_SMALLEST_LEAF = 3
_MOST_ROWS = 400
"""Rows of a tree at most; more make it slower, not better."""


@dataclass(frozen=True, slots=True)
class InputImportance:
    """How a function of d inputs varies with each.

    Attributes:
        share: Of the variance, that which each input explains alone, of d inputs; the rest is due to
            inputs together.
        deviation: The standard deviation of the shares over the trees.
        r2: The share of the variance of rows that the forest predicts where it was not fitted on them;
            0 or less when it predicts nothing.
    """

    share: Doubles
    deviation: Doubles
    r2: float


@dataclass(frozen=True, slots=True)
class _Boxes:
    """A tree: its leaves as boxes [low, high) of the unit cube, with their values."""

    low: Doubles
    high: Doubles
    value: Doubles

    def predict(self, x: Doubles) -> Doubles:
        inside = (x[:, None, :] >= self.low) & (x[:, None, :] < self.high)
        leaf = inside.all(axis=2).argmax(axis=1)
        return np.asarray(self.value[leaf], np.float64)

    def shares(self) -> Doubles | None:
        """The share of the variance that each input explains alone; None of a constant tree."""
        sides = self.high - self.low
        volume = sides.prod(axis=1)
        mean = volume @ self.value
        variance = volume @ (self.value - mean) ** 2
        if variance <= 0:
            return None
        found = np.empty(self.low.shape[1])
        for place in range(len(found)):
            edges = np.unique(np.concatenate([self.low[:, place], self.high[:, place]]))
            middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
            covers = (self.low[:, place, None] <= middle) & (middle < self.high[:, place, None])
            marginal = (volume / sides[:, place] * self.value) @ covers
            found[place] = width @ (marginal - mean) ** 2 / variance
        return found


def input_importance(x: Doubles, y: Doubles, seed: int = 0) -> InputImportance | None:
    """How a value varies with each input, by a random forest.

    Args:
        x: The inputs, (n, d), in [0, 1).
        y: The values, n of them, finite.
        seed: Draws the rows and inputs of the trees.

    Returns:
        None where the values do not vary.
    """
    if len(y) < 2 * _SMALLEST_LEAF or np.ptp(y) == 0:
        return None
    random = np.random.default_rng(seed)
    shares = []
    sums, counts = np.zeros(len(y)), np.zeros(len(y))
    for _ in range(_TREES):
        drawn = random.integers(0, len(y), min(len(y), _MOST_ROWS))
        tree = _tree(x[drawn], y[drawn], random)
        own = tree.shares()
        if own is not None:
            shares.append(own)
        others = np.setdiff1d(np.arange(len(y)), drawn)
        sums[others] += tree.predict(x[others])
        counts[others] += 1
    if not shares:
        return None
    known = counts > 0
    errors = (y[known] - sums[known] / counts[known]) ** 2
    spread = ((y[known] - y[known].mean()) ** 2).sum()
    r2 = 1 - errors.sum() / spread if spread > 0 else 0.0
    found = np.stack(shares)
    return InputImportance(found.mean(axis=0), found.std(axis=0), float(r2))


def _tree(x: Doubles, y: Doubles, random: np.random.Generator) -> _Boxes:
    inputs = x.shape[1]
    low, high, value = [], [], []
    left: list[tuple[Indices, Doubles, Doubles]] = [
        (np.arange(len(y)), np.zeros(inputs), np.ones(inputs))
    ]
    while left:
        rows, begin, end = left.pop()
        split = _best_split(x[rows], y[rows], random)
        if split is None:
            low.append(begin)
            high.append(end)
            value.append(y[rows].mean())
            continue
        place, threshold = split
        below = x[rows, place] < threshold
        middle_high, middle_low = end.copy(), begin.copy()
        middle_high[place] = middle_low[place] = threshold
        left.append((rows[below], begin, middle_high))
        left.append((rows[~below], middle_low, end))
    return _Boxes(np.array(low), np.array(high), np.array(value))


def _best_split(x: Doubles, y: Doubles, random: np.random.Generator) -> tuple[int, float] | None:
    """The input and the threshold that leave the least squared error; of all inputs but a third."""
    count, inputs = x.shape
    if count < 2 * _SMALLEST_LEAF or np.ptp(y) == 0:
        return None
    tried = random.permutation(inputs)[: max(1, -(-2 * inputs // 3))]
    order = np.argsort(x[:, tried], axis=0, kind="stable")
    ordered, values = np.take_along_axis(x[:, tried], order, axis=0), y[order]
    sums = np.cumsum(values, axis=0)[:-1]
    sizes = np.arange(1, count)[:, None]
    gain = sums**2 / sizes + (values.sum(axis=0) - sums) ** 2 / (count - sizes)
    is_split = ordered[1:] > ordered[:-1]
    is_split &= (sizes >= _SMALLEST_LEAF) & (count - sizes >= _SMALLEST_LEAF)
    gain = np.where(is_split, gain, -np.inf)
    row, column = np.unravel_index(int(gain.argmax()), gain.shape)
    if not np.isfinite(gain[row, column]):
        return None
    threshold = (ordered[row, column] + ordered[row + 1, column]) / 2
    return int(tried[column]), float(threshold)
