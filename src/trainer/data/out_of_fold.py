"""Out-of-fold predictions: merge the predictions of all folds and repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from trainer.data.arrays import Float32Array, Float64Array, RowIndex
from trainer.data.column_names import free_name


@dataclass(frozen=True)
class FoldPredictions:
    """Predictions of one network for its validation rows.

    Attributes:
        rows: int64 (n,), source row numbers from 0, each once.
        predictions: (n, outputs), numbers in the target's units, or probabilities.
        fold: Its fold.
        repeat: Its repeat.
    """

    rows: RowIndex
    predictions: Float64Array | Float32Array
    fold: int
    repeat: int


@dataclass(frozen=True)
class OutOfFoldNames:
    """Columns of `predictions/out_of_fold.parquet` that are renamed if another column has their name.

    Attributes:
        std: Output → the column of its standard deviation.
        target: Target column → the column with its values.
    """

    std: Mapping[str, str]
    target: Mapping[str, str]


def out_of_fold_names(targets: Sequence[str], outputs: Sequence[str]) -> OutOfFoldNames:
    """Return the column names for these targets and outputs, to write and to read the file."""
    std = {name: free_name(f"{name}_std", outputs, "_of_members") for name in outputs}
    used = {"row", "fold", *outputs, *std.values()}
    target: dict[str, str] = {}
    for name in targets:
        target[name] = free_name(name, used, "_of_input")
        used.add(target[name])
    return OutOfFoldNames(std, target)


def out_of_fold(
    members: Sequence[FoldPredictions], targets: pl.DataFrame, outputs: Sequence[str]
) -> pl.DataFrame:
    """Merge the predictions: one row for each validation row, in the order of the source.

    With random, stratified, group and hash splits that is every row that is neither a test row nor
    dropped; with a time split the rows of the first part, which are always training rows, are missing.

    Args:
        members: At least one; rows of the members of one repeat are distinct.
        targets: The target columns of all rows of the table.
        outputs: A name for each output.

    Returns:
        `row`; the target columns, as `<name>_of_input` if the name is taken; `fold`; for each output
        its mean over repeats, under its name, and `<name>_std`, the standard deviation over
        repeats, null for a single repeat.

    Raises:
        ValueError: If a row occurs twice in one repeat.
    """
    rows, row_index = np.unique(
        np.concatenate([part.rows for part in members]), return_inverse=True
    )
    predictions = np.concatenate([part.predictions for part in members]).astype(np.float64)
    repeats = np.concatenate([np.full(len(part.rows), part.repeat) for part in members])
    folds = np.concatenate([np.full(len(part.rows), part.fold) for part in members])
    if len(np.unique(repeats * len(rows) + row_index)) != len(row_index):
        raise ValueError("a row occurs twice in one repeat")
    counts = np.bincount(row_index)[:, None]
    mean = _segment_sum(predictions, row_index, len(rows)) / counts
    # Deviations from the mean, as sums of squares would cancel.
    squares = _segment_sum((predictions - mean[row_index]) ** 2, row_index, len(rows))
    std = np.sqrt(squares / np.maximum(counts - 1, 1))
    fold_of = np.empty(len(rows), dtype=np.int64)
    fold_of[row_index] = folds
    names = out_of_fold_names(targets.columns, outputs)
    columns: dict[str, pl.Series] = {"row": pl.Series(rows)}
    for series in targets:
        columns[names.target[series.name]] = series.gather(rows)
    columns["fold"] = pl.Series(fold_of)
    single = pl.Series(counts[:, 0] == 1)
    for index, name in enumerate(outputs):
        columns[name] = pl.Series(mean[:, index])
        columns[names.std[name]] = pl.Series(std[:, index]).set(single, None)
    return pl.DataFrame(columns)


def _segment_sum(values: Float64Array, segment: RowIndex, count: int) -> Float64Array:
    """Return the sum of the values (n, outputs) of each segment, (count, outputs)."""
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, segment, values)
    return total
