"""What every task defines, and what all but one of them have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from trainer.config.data import TaskName
from trainer.config.model import HeadKind
from trainer.config.task_rules import TASK_RULES, TaskRules

FloatType = TypeVar("FloatType", np.float32, np.float64)
FloatArray = npt.NDArray[np.floating[Any]]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class TaskKind:
    """The form of the targets and predictions of a task.

    Targets y and predictions p have shape (rows, k), with one column per scored name. `names` are the
    classes (binary: the negative, then the positive one), the labels, or the target columns.
    """

    name: ClassVar[TaskName]

    @property
    def rules(self) -> TaskRules:
        """What the task predicts and which settings fit it."""
        return TASK_RULES[self.name]

    def scored_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the name of each number of a prediction."""
        return tuple(names)

    def prediction_columns(self, names: Sequence[str]) -> list[str]:
        """Return the columns of predicted values in a file of predictions."""
        prefix = "probability" if self.rules.has_classes else "predicted"
        return [f"{prefix}_{name}" for name in self.scored_names(names)]

    def head_units(self, head: HeadKind, columns: int) -> int:
        """Return the units of the output layer for k columns of y."""
        return columns

    def encode_for_head(self, y: FloatArray, units: int) -> FloatArray:
        """Return y with one column per unit of the output layer."""
        assert y.shape[1] == units, (y.shape, units)
        return y

    def decode_from_head(self, outputs: FloatArray) -> FloatArray:
        """Return outputs, or targets encoded for the head, with one column per scored name."""
        return outputs

    def json_values(self, y: FloatArray, classes: Sequence[str]) -> list[Any]:
        """Return targets as JSON values, one per row: the class as text, or a list of numbers."""
        return list(y.tolist())

    def class_totals(self, y: FloatArray) -> Float64Array:
        """Return the number of rows of each class, or of the rows that have each label."""
        totals: Float64Array = y.sum(axis=0, dtype=np.float64)
        return totals


class ExclusiveTask(TaskKind, ABC):
    """A task whose rows have exactly one class each."""

    @abstractmethod
    def class_indices(self, y: FloatArray) -> IntArray:
        """Return the index of the class of each row, (rows,)."""

    @abstractmethod
    def from_class_indices(
        self, indices: IntArray, classes: int, dtype: type[FloatType]
    ) -> npt.NDArray[FloatType]:
        """Return y (rows, k) for the index of the class of each row."""

    def json_values(self, y: FloatArray, classes: Sequence[str]) -> list[Any]:
        """Return the class of each row as text."""
        return [classes[index] for index in self.class_indices(y)]
