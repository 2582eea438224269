"""Samples: what a network is trained and judged on. The seam for other sources of arrays."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.data.arrays import BoolArray, Float32Array, Float64Array, RowIndex


@dataclass(frozen=True)
class Samples:
    """Rows of one split, in the order of the source.

    Attributes:
        x: float32 (n, width), C-contiguous; of a streamed table read-only and mapped from a file, as y.
        y: float32 (n, outputs): binary (n, 1) of 0 and 1; multiclass (n, classes) one-hot; multilabel
            (n, columns) of 0 and 1; regression (n, columns), scaled where the target is; (n, 0)
            where no target was read.
        weight: float32 (n,), the weight column's values, or None.
        rows: int64 (n,), source row numbers from 0.
        unseen: bool (n,), the row has a value that was never seen in training.
        warnings: What was odd in these rows, counted by column.
        values: float64 (n, columns), the targets of a regression as the table has them: `y` is rounded
            to float32, and scaled. None for other tasks.
    """

    x: Float32Array
    y: Float32Array
    weight: Float32Array | None
    rows: RowIndex
    unseen: BoolArray
    warnings: tuple[str, ...] = ()
    values: Float64Array | None = None
