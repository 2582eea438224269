"""Binary classification: a negative and a positive class."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from trainer.config.model import HeadKind
from trainer.metrics.arrays import FloatArray
from trainer.task_names import TaskName
from trainer.tasks.base import ExclusiveTask


class Binary(ExclusiveTask):
    """y (rows, 1) is 1 for the positive class; a softmax head has a unit for each class."""

    name: ClassVar[TaskName] = "binary"

    def class_probabilities(self, p: FloatArray) -> FloatArray:
        """Return the probabilities of the negative and of the positive class."""
        return np.concatenate([1 - p, p], axis=1)

    def head_units(self, head: HeadKind, columns: int) -> int:
        """Return 2 for a softmax, otherwise 1."""
        return 2 if head == "softmax" else columns

    def encode_for_head(self, y: FloatArray, units: int) -> FloatArray:
        """Return y, or the two columns of a softmax: negative, positive."""
        return np.concatenate([1 - y, y], axis=1) if units == 2 else y

    def decode_from_head(self, outputs: FloatArray) -> FloatArray:
        """Return the column of the positive class."""
        return outputs[:, 1:] if outputs.shape[1] == 2 else outputs
