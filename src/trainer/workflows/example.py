"""One validation row in plain values: the example of the report. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from trainer.data.prepare import Dataset
from trainer.data.raw_rows import raw_row
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.data.streaming import StreamedDataset
from trainer.runs.example import ExampleRow


def example_row(dataset: Dataset) -> ExampleRow:
    """Return a validation row, or a training row if there are none.

    It is the first row without missing values in the first batch with rows of the split, else the
    first.
    """
    split: SplitName = "validation" if dataset.rows("validation") else "train"
    names = [column.name for column in dataset.preprocessing.columns]
    for start, frame in _batches(dataset, names):
        assignment = dataset.assignment[start : start + frame.height]
        rows = np.flatnonzero(assignment == SPLIT_NAMES.index(split))
        if len(rows):
            known = ~frame[rows].select(pl.any_horizontal(pl.all().is_null())).to_series()
            index = int(rows[np.argmax(known.to_numpy())])
            values = raw_row(dataset.preprocessing, frame[index : index + 1])
            return ExampleRow(split, start + index, values)
    raise AssertionError(f"no {split} rows")


def _batches(dataset: Dataset, names: list[str]) -> Iterator[tuple[int, pl.DataFrame]]:
    if isinstance(dataset, StreamedDataset):
        yield from dataset.stream.batches(names)
    else:
        yield 0, dataset.table.frame.select(names)
