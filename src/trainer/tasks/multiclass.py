"""One of more than two classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.tasks.base import ExclusiveTask, FloatArray, FloatType, IntArray


class Multiclass(ExclusiveTask):
    """y (rows, classes) is one-hot; the most likely class is predicted."""

    name = "multiclass"

    def class_indices(self, y: FloatArray) -> IntArray:
        """Return the index of the class, or of the most likely one."""
        return np.asarray(y.argmax(axis=1), np.int64)

    def from_class_indices(
        self, indices: IntArray, classes: int, dtype: type[FloatType]
    ) -> npt.NDArray[FloatType]:
        """Return the indices one-hot encoded."""
        one_hot: npt.NDArray[FloatType] = np.eye(classes, dtype=dtype)[indices]
        return one_hot
