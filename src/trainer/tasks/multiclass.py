"""Multiclass classification: one of more than two classes per row."""

from __future__ import annotations

from typing import ClassVar

from trainer.metrics.arrays import FloatArray, Int64Array
from trainer.metrics.labels import class_indices
from trainer.task_names import TaskName
from trainer.tasks.base import ExclusiveTask


class Multiclass(ExclusiveTask):
    """y (rows, classes) is one-hot; the most likely class is predicted."""

    name: ClassVar[TaskName] = "multiclass"

    def predicted_labels(self, p: FloatArray, threshold: float) -> Int64Array:
        """Return the index of the most likely class, (rows, 1)."""
        return class_indices(p)[:, None]
