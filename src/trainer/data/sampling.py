"""Some rows of a split as they stand in the table, drawn by a seed.

Owns: which rows, and reading them, of a table on disk in one pass. Does not own: encoding them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from trainer.data.arrays import Float32Array, Float64Array, RowIndex
from trainer.data.prepare import SplitTable
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.data.streaming import StreamedDataset


@dataclass(frozen=True, slots=True, eq=False)
class RowSample:
    """Rows of a split.

    Attributes:
        split: Which.
        of: How many rows the split has.
        rows: (n,) source row numbers, rising.
        frame: Their feature columns, as they stand in the table.
        y: (n, width) the target as `FittedTarget.encode` gives it.
        weight: (n,) or None.
        values: (n, columns) the targets of a regression as the table has them, else None.
    """

    split: SplitName
    of: int
    rows: RowIndex
    frame: pl.DataFrame
    y: Float32Array
    weight: Float32Array | None
    values: Float64Array | None

    def take(self, most: int, seed: int) -> RowSample:
        """At most so many of these rows, drawn by the seed."""
        if len(self.rows) <= most:
            return self
        at = _drawn(len(self.rows), most, seed)
        weight = None if self.weight is None else self.weight[at]
        values = None if self.values is None else self.values[at]
        return replace(
            self,
            rows=self.rows[at],
            frame=self.frame[at],
            y=self.y[at],
            weight=weight,
            values=values,
        )


def draw_row_sample(table: SplitTable, split: SplitName, most: int, seed: int) -> RowSample | None:
    """At most so many rows of a split; None when it has none.

    Raises:
        DataError: A file of a table on disk is no longer what it was.
    """
    at = np.flatnonzero(table.assignment == SPLIT_NAMES.index(split))
    if not len(at):
        return None
    rows = at[_drawn(len(at), most, seed)] if len(at) > most else at
    names = [column.name for column in table.preprocessing.columns]
    if isinstance(table, StreamedDataset):
        parts = []
        for start, frame in table.stream.batches(names):
            first, last = np.searchsorted(rows, (start, start + frame.height))
            parts.append(frame[rows[first:last] - start])
        frame = pl.concat(parts, rechunk=True)
    else:
        frame = table.table.frame.select(names)[rows]
    y, _ = table.targets(rows)
    weight = None if table.weight is None else table.weight[rows]
    return RowSample(split, len(at), rows, frame, y, weight, table.target_values(rows))


def _drawn(rows: int, most: int, seed: int) -> RowIndex:
    chosen = np.random.default_rng(seed).choice(rows, most, replace=False)
    return np.sort(chosen).astype(np.int64)
