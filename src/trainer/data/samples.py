"""The arrays that a network is trained and evaluated on, from any source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from weakref import WeakValueDictionary

import polars as pl

from trainer.data.arrays import BoolArray, Float32Array, Float64Array, RowIndex
from trainer.data.image_cache import CachedImages
from trainer.data.scratch_arrays import release_pages
from trainer.inputs import Inputs
from trainer.metrics.arrays import IntArray


@dataclass(frozen=True)
class Samples:
    """The samples of one split as arrays, in the order of the source.

    Attributes:
        inputs: The values of each input of the network, (n, *shape); for a streamed table read-only and
            memory-mapped, like y.
        y: float32 (n, outputs): binary (n, 1) of 0 and 1; multiclass (n, classes) one-hot; multilabel
            (n, columns) of 0 and 1; regression (n, columns), scaled if the target is; translation
            (n, tokens), ids; (n, 0) if no
            target was read.
        weight: float32 (n,), the values of the weight column, or None.
        rows: int64 (n,), source row numbers from 0.
        unseen: bool (n,), whether the row has a value that does not occur in training.
        warnings: Unexpected values in these rows, counted by column.
        values: float64 (n, columns), the regression targets as in the table: `y` is rounded to float32
            and scaled. None for other tasks.
        texts: The targets of a translation, as in the table. None for other tasks.
    """

    inputs: Inputs
    y: Float32Array
    weight: Float32Array | None
    rows: RowIndex
    unseen: BoolArray
    warnings: tuple[str, ...] = ()
    values: Float64Array | None = None
    texts: pl.Series | None = None

    def __len__(self) -> int:
        return len(self.y)

    def release_pages(self) -> None:
        """Release the pages of memory-mapped arrays from this process."""
        for array in (*self.inputs.values(), self.y):
            release_pages(array)

    def with_whole_images(self) -> Samples:
        """Return the samples with images from which nothing is cut out."""
        inputs = {
            name: replace(values, crop=None) if isinstance(values, CachedImages) else values
            for name, values in self.inputs.items()
        }
        return replace(self, inputs=inputs)

    def encoded_for_head(
        self, encode: Callable[[Float32Array, int], Float32Array], outputs: int
    ) -> Samples:
        """Return the samples with targets (n, outputs), which the networks of a pack share.

        Args:
            encode: Converts targets to this number of outputs, or returns them as they are.
            outputs: The number of units of the output layer.
        """
        if outputs not in self._of_heads:
            y = encode(self.y, outputs)
            if y is self.y:
                return self
            self._of_heads[outputs] = replace(self, y=y)
        return self._of_heads[outputs]

    def with_class_weights(
        self, weights: Float32Array, classes_of: Callable[[Float32Array], IntArray]
    ) -> Samples:
        """Return the samples with class weights (classes,) multiplied into their weights.

        Networks that use equal weights at the same time share the result.

        Args:
            weights: The weight of each class.
            classes_of: Returns the index of the class of each row for `y`.
        """
        key = weights.tobytes()
        weighted = self._weighted.get(key)
        if weighted is None:
            per_row = weights[classes_of(self.y)]
            weight = per_row if self.weight is None else self.weight * per_row
            weighted = self._weighted[key] = replace(self, weight=weight)
        return weighted

    @cached_property
    def _of_heads(self) -> dict[int, Samples]:
        return {}

    @cached_property
    def _weighted(self) -> WeakValueDictionary[bytes, Samples]:
        return WeakValueDictionary()
