"""Sums over rows for many weightings at once."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from trainer.metrics.arrays import BLOCK_ROWS, BoolArray, Float64Array, IntArray


class Weighting:
    """r weightings of n rows.

    A single weighting is summed by NumPy, so that the result does not depend on the number of threads
    of the linear algebra library; several are computed by one matrix product.

    Attributes:
        weights: (r, n), non-negative, with positive sums; None for a single weighting, with equal
            weights.
        total: (r, 1) sum of the weights.
    """

    def __init__(self, weights: Float64Array | None, rows: int) -> None:
        self.weights = weights
        self.total = (
            np.full((1, 1), float(rows)) if weights is None else weights.sum(axis=1, keepdims=True)
        )

    def means(self, values: Float64Array | BoolArray) -> Float64Array:
        """Return the weighted means of the columns of (n, m) values, (r, m)."""
        if self.weights is None:
            return np.asarray(values.sum(axis=0, keepdims=True) / self.total)
        if len(self.weights) == 1:
            weighted = np.multiply(values, self.weights[0][:, None])
            return np.asarray(weighted.sum(axis=0, keepdims=True) / self.total)
        return np.asarray(self.weights @ values / self.total)

    def sums_by_code(self, codes: IntArray, size: int) -> Float64Array:
        """Return the weight of the rows with each code from 0 to size - 1 in each column of (n, m)
        codes, (r, m, size).

        It is exactly 0 for a code without rows.
        """
        if self.weights is not None and len(self.weights) > 1 and codes.shape[1] > 1:
            products = [self.weights @ (codes == code) for code in range(size)]
            return np.asarray(np.stack(products, axis=-1), np.float64)
        weights = [None] if self.weights is None else self.weights
        if len(weights) > 1:
            codes = codes.astype(np.intp, copy=False)
        sums = [[_sums_by_code(column, row, size) for column in codes.T] for row in weights]
        return np.asarray(sums, np.float64)


def _sums_by_code(
    codes: IntArray, weight: Float64Array | None, size: int
) -> Float64Array | IntArray:
    if weight is not None:
        return np.bincount(codes, weight, size)
    # In blocks, as codes of few bytes are copied to 8.
    starts = range(0, max(1, len(codes)), BLOCK_ROWS)
    counts = [np.bincount(codes[start : start + BLOCK_ROWS], minlength=size) for start in starts]
    return np.asarray(np.sum(counts, axis=0))


class WeightedMetrics(ABC):
    """Metrics of fixed predictions for each of r weightings, each computed once."""

    def __init__(self, weights: Float64Array | None, rows: int) -> None:
        self.weighting = Weighting(weights, rows)
        self._by_part: dict[str, Float64Array] = {}

    def by_part(self, name: str) -> Float64Array:
        """Return a metric of every class against the rest or of every column, (r, k)."""
        if name not in self._by_part:
            self._by_part[name] = self._compute_by_part(name)
        return self._by_part[name]

    @abstractmethod
    def overall(self, name: str) -> Float64Array:
        """Return a metric of all classes or columns, (r,)."""

    @abstractmethod
    def _compute_by_part(self, name: str) -> Float64Array: ...
