"""Out-of-fold answers: what networks said of rows that they were not trained with.

Owns: putting the answers of all folds and repeats together. Does not own: asking the networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from trainer.data.arrays import Float32Array, Float64Array, RowIndex
from trainer.data.column_names import free_name


@dataclass(frozen=True)
class FoldPredictions:
    """What one network said of its validation rows.

    Attributes:
        rows: int64 (n,), source row numbers from 0, each once.
        answers: (n, outputs), numbers in the target's unit, or probabilities.
        fold: Its fold.
        repeat: Its repeat.
    """

    rows: RowIndex
    answers: Float64Array | Float32Array
    fold: int
    repeat: int


@dataclass(frozen=True)
class OutOfFoldNames:
    """The columns of `predictions/out_of_fold.parquet` whose names others can have taken.

    Attributes:
        spread: Output → the column of its spread.
        target: Target column → the column that has its values.
    """

    spread: Mapping[str, str]
    target: Mapping[str, str]


def out_of_fold_names(targets: Sequence[str], outputs: Sequence[str]) -> OutOfFoldNames:
    """The names for these target columns and outputs, for the writer and the readers of the file."""
    spread = {name: free_name(f"{name}_spread", outputs, "_of_members") for name in outputs}
    taken = {"row", "fold", *outputs, *spread.values()}
    target: dict[str, str] = {}
    for name in targets:
        target[name] = free_name(name, taken, "_of_input")
        taken.add(target[name])
    return OutOfFoldNames(spread, target)


def out_of_fold(
    members: Sequence[FoldPredictions], targets: pl.DataFrame, outputs: Sequence[str]
) -> pl.DataFrame:
    """One row for each row that was validated, in the order of the source.

    By random, stratified, group and hash that is every row that is neither tested nor dropped; by time
    those of the first part, which only trains, are missing.

    Args:
        members: At least one; of the members of one repeat no two have the same row.
        targets: The target columns of all rows of the table.
        outputs: A name for each output.

    Returns:
        `row`; the target columns, one that is named like another column here as `<name>_of_input`;
        `fold`; for each output its mean over repeats, under its name, and `<name>_spread`, the standard
        deviation over repeats, null where there is one.
    """
    rows, place = np.unique(np.concatenate([one.rows for one in members]), return_inverse=True)
    given = np.concatenate([one.answers for one in members]).astype(np.float64)
    repeats = np.concatenate([np.full(len(one.rows), one.repeat) for one in members])
    folds = np.concatenate([np.full(len(one.rows), one.fold) for one in members])
    if len(np.unique(repeats * len(rows) + place)) != len(place):
        raise ValueError("a row is validated twice in one repeat")
    counts = np.bincount(place)[:, None]
    mean = _summed(given, place, len(rows)) / counts
    # From the mean, not from sums of squares, which would cancel.
    squares = _summed((given - mean[place]) ** 2, place, len(rows))
    spread = np.sqrt(squares / np.maximum(counts - 1, 1))
    fold_of = np.empty(len(rows), dtype=np.int64)
    fold_of[place] = folds
    names = out_of_fold_names(targets.columns, outputs)
    found: dict[str, pl.Series] = {"fold": pl.Series(fold_of)}
    for number, name in enumerate(outputs):
        found[name] = pl.Series(mean[:, number])
        one_only = pl.Series(counts[:, 0] == 1)
        found[names.spread[name]] = pl.Series(spread[:, number]).set(one_only, None)
    columns: dict[str, pl.Series] = {"row": pl.Series(rows)}
    for series in targets:
        columns[names.target[series.name]] = series.gather(rows)
    return pl.DataFrame({**columns, **found})


def _summed(values: Float64Array, place: RowIndex, count: int) -> Float64Array:
    """The sum of the values (n, outputs) of each place, (count, outputs)."""
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, place, values)
    return total
