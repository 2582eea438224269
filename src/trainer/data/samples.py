"""The arrays that a network is trained and evaluated on, whatever their source."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.data.arrays import BoolArray, Float32Array, Float64Array, RowIndex


@dataclass(frozen=True)
class Samples:
    """The samples of one split as arrays, in the order of the source.

    Attributes:
        x: float32 (n, width), C-contiguous; for a streamed table read-only and memory-mapped, like y.
        y: float32 (n, outputs): binary (n, 1) of 0 and 1; multiclass (n, classes) one-hot; multilabel
            (n, columns) of 0 and 1; regression (n, columns), scaled if the target is; (n, 0) if no
            target was read.
        weight: float32 (n,), the values of the weight column, or None.
        rows: int64 (n,), source row numbers from 0.
        unseen: bool (n,), whether the row has a value that does not occur in training.
        warnings: Unexpected values in these rows, counted by column.
        values: float64 (n, columns), the regression targets as in the table: `y` is rounded to float32
            and scaled. None for other tasks.
    """

    x: Float32Array
    y: Float32Array
    weight: Float32Array | None
    rows: RowIndex
    unseen: BoolArray
    warnings: tuple[str, ...] = ()
    values: Float64Array | None = None
