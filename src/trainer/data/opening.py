"""Open a table: its rows in memory are a stream of one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.data.arrays import RowIndex
from trainer.data.streams import Stream, open_stream
from trainer.data.tables import Table, read_table


@dataclass(frozen=True)
class RowsInMemory:
    """All rows of all files, as one batch."""

    table: Table

    @property
    def header(self) -> Table:
        """Every column with its type; with all rows, which its users ignore."""
        return self.table

    @property
    def in_memory(self) -> bool:
        return True

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield some columns of all rows, after the number of the first row."""
        yield 0, self.table.frame.select(columns)

    def read_columns(self, columns: Sequence[str]) -> Table:
        """Return all columns, as they are in memory anyway."""
        return self.table


Rows = RowsInMemory | Stream


def open_table(data: Data, *, streamed: bool) -> Rows:
    """Open the files of `data.source`.

    Args:
        data: The `data` section.
        streamed: Whether to leave the rows on disk and read them in batches.

    Raises:
        DataError: See `read_table` and `open_stream`.
    """
    return open_stream(data) if streamed else RowsInMemory(read_table(data.source, data))


def gather_rows(source: Rows, columns: Sequence[str], rows: RowIndex) -> pl.DataFrame:
    """Return some rows, given by ascending numbers, in one pass over the batches.

    Raises:
        DataError: If a file of a stream is damaged.
    """
    parts = []
    for start, frame in source.batches(columns):
        first, last = np.searchsorted(rows, (start, start + frame.height))
        parts.append(frame if last - first == frame.height else frame[rows[first:last] - start])
    return pl.concat(parts, rechunk=True)
