"""One of two classes, of which one is the positive one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainer.config.model import HeadKind
from trainer.tasks.base import ExclusiveTask, Float64Array, FloatArray, FloatType, IntArray


class Binary(ExclusiveTask):
    """y (rows, 1) is 1 for the positive class; a softmax head has a unit for each class."""

    name = "binary"

    def scored_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the positive class."""
        return tuple(names[1:2])

    def head_units(self, head: HeadKind, columns: int) -> int:
        """Return 2 for a softmax, otherwise 1."""
        return 2 if head == "softmax" else columns

    def encode_for_head(self, y: FloatArray, units: int) -> FloatArray:
        """Return y, or the two columns of a softmax: negative, positive."""
        return np.concatenate([1 - y, y], axis=1) if units == 2 else y

    def decode_from_head(self, outputs: FloatArray) -> FloatArray:
        """Return the column of the positive class."""
        return outputs[:, 1:] if outputs.shape[1] == 2 else outputs

    def class_indices(self, y: FloatArray) -> IntArray:
        """Return 1 for the positive class, else 0."""
        return np.asarray(y[:, 0] > 0.5, np.int64)

    def from_class_indices(
        self, indices: IntArray, classes: int, dtype: type[FloatType]
    ) -> npt.NDArray[FloatType]:
        """Return the indices as a column."""
        return np.asarray(indices[:, None], dtype)

    def class_totals(self, y: FloatArray) -> Float64Array:
        """Return the number of negatives and of positives."""
        positives = y.sum(axis=0, dtype=np.float64)
        return np.concatenate([len(y) - positives, positives])
