"""One of more than two classes."""

from __future__ import annotations

import numpy as np

from trainer.tasks.base import ExclusiveTask, Float64Array, FloatArray, IntArray


class Multiclass(ExclusiveTask):
    """y (rows, classes) is one-hot; the most likely class is predicted."""

    name = "multiclass"

    def class_indices(self, y: FloatArray) -> IntArray:
        """Return the index of the class, or of the most likely one."""
        return np.asarray(y.argmax(axis=1), np.int64)

    def from_class_indices(self, indices: IntArray, classes: int) -> Float64Array:
        """Return the indices one-hot encoded."""
        one_hot: Float64Array = np.eye(classes)[indices]
        return one_hot
