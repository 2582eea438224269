"""The weights of terms of texts as a sparse matrix, for linear models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.data.arrays import Float32Array, RowIndex
from trainer.metrics.arrays import Float64Array

SCALE = 2.0
"""Factor of the weights, by which their penalty is that of C = 4 in scikit-learn."""


@dataclass(frozen=True, slots=True, eq=False)
class SparseTerms:
    """A sparse matrix (rows, terms).

    Attributes:
        shape: Its shape.
        rows: The row of each entry, increasing.
        ids: The column of each entry.
        values: The entries.
    """

    shape: tuple[int, int]
    rows: RowIndex
    ids: RowIndex
    values: Float64Array

    @classmethod
    def from_pairs(cls, pairs: Float32Array, count: int) -> SparseTerms:
        """Return the matrix of the input `terms`, float32 (n, slots, 2), with ids below `count`."""
        rows, slots = np.nonzero(pairs[..., 1])
        entries = pairs[rows, slots]
        values = SCALE * entries[:, 1].astype(np.float64)
        return cls((len(pairs), count), rows, entries[:, 0].astype(np.int64), values)

    def __matmul__(self, table: Float64Array) -> Float64Array:
        """Return the product with a matrix (terms, k)."""
        columns = [
            np.bincount(self.rows, self.values * column[self.ids], minlength=self.shape[0])
            for column in np.ascontiguousarray(table.T)
        ]
        return np.stack(columns, axis=1)

    def transposed_product(self, table: Float64Array) -> Float64Array:
        """Return the product of the transposed matrix with a matrix (rows, k)."""
        columns = [
            np.bincount(self.ids, self.values * column[self.rows], minlength=self.shape[1])
            for column in np.ascontiguousarray(table.T)
        ]
        return np.stack(columns, axis=1)

    def select(self, rows: RowIndex) -> SparseTerms:
        """Return some rows, given by increasing numbers."""
        places = np.full(self.shape[0], -1)
        places[rows] = np.arange(len(rows))
        new = places[self.rows]
        kept = new >= 0
        return SparseTerms((len(rows), self.shape[1]), new[kept], self.ids[kept], self.values[kept])
