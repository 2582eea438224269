"""One validation row in plain values: the example of the report. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from trainer.data.prepare import PreparedTable
from trainer.data.raw_rows import raw_row
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.data.streaming import StreamedTable
from trainer.runs.example import ExampleRow


def example_row(prepared: PreparedTable) -> ExampleRow:
    """A validation row, or a training row where there are none: the first without missing values
    among those at hand, else the first.
    """
    split: SplitName = "validation" if prepared.rows("validation") else "train"
    names = [column.name for column in prepared.preprocessing.columns]
    for start, frame in _batches(prepared, names):
        part = prepared.assignment[start : start + frame.height]
        rows = np.flatnonzero(part == SPLIT_NAMES.index(split))
        if len(rows):
            known = ~frame[rows].select(pl.any_horizontal(pl.all().is_null())).to_series()
            place = int(rows[np.argmax(known.to_numpy())])
            values = raw_row(prepared.preprocessing, frame[place : place + 1])
            return ExampleRow(split, start + place, values)
    raise AssertionError(f"no {split} rows")


def _batches(prepared: PreparedTable, names: list[str]) -> Iterator[tuple[int, pl.DataFrame]]:
    if isinstance(prepared, StreamedTable):
        yield from prepared.stream.batches(names)
    else:
        yield 0, prepared.table.frame.select(names)
