"""Draw a random sample of the rows of a split, as they are in the table."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from trainer.data.arrays import Float32Array, Float64Array, RowIndex
from trainer.data.dataset import Dataset
from trainer.data.opening import gather_rows
from trainer.data.splits import SPLIT_NAMES, SplitName


@dataclass(frozen=True, slots=True, eq=False)
class RowSample:
    """A sample of the rows of a split.

    Attributes:
        split: The split.
        split_rows: Number of rows of the split.
        rows: (n,) source row numbers, ascending.
        frame: The feature columns, as in the table.
        y: (n, width) the encoded target; see `FittedTarget.encode`.
        weight: (n,) or None.
        values: (n, columns) the regression targets as in the table, or None.
    """

    split: SplitName
    split_rows: int
    rows: RowIndex
    frame: pl.DataFrame
    y: Float32Array
    weight: Float32Array | None
    values: Float64Array | None

    def subsample(self, size: int, seed: int) -> RowSample:
        """Return a random sample of at most `size` of these rows."""
        if len(self.rows) <= size:
            return self
        chosen = _draw(len(self.rows), size, seed)
        weight = None if self.weight is None else self.weight[chosen]
        values = None if self.values is None else self.values[chosen]
        return replace(
            self,
            rows=self.rows[chosen],
            frame=self.frame[chosen],
            y=self.y[chosen],
            weight=weight,
            values=values,
        )


def draw_row_sample(
    dataset: Dataset, split: SplitName, size: int, seed: int, split_rows: RowIndex | None = None
) -> RowSample | None:
    """Return a random sample of at most `size` rows of a split; None if it has no rows.

    Args:
        dataset: The table.
        split: The split.
        size: The largest number of rows.
        seed: Seed of the sample.
        split_rows: The row numbers of the split, ascending; None for those of the dataset.

    Raises:
        DataError: If a file of a streamed table has changed.
    """
    if split_rows is None:
        split_rows = np.flatnonzero(dataset.assignment == SPLIT_NAMES.index(split))
    if not len(split_rows):
        return None
    rows = split_rows
    if len(split_rows) > size:
        rows = split_rows[_draw(len(split_rows), size, seed)]
    names = [column.name for column in dataset.preprocessing.columns]
    frame = gather_rows(dataset.source, names, rows)
    y, _ = dataset.targets(rows)
    weight = None if dataset.weight is None else dataset.weight[rows]
    return RowSample(split, len(split_rows), rows, frame, y, weight, dataset.target_values(rows))


def _draw(rows: int, size: int, seed: int) -> RowIndex:
    chosen = np.random.default_rng(seed).choice(rows, size, replace=False)
    return np.sort(chosen).astype(np.int64)
