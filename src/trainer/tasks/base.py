"""The interface of task kinds, with the defaults that most of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import polars as pl

from trainer.config.model import HeadKind
from trainer.config.task_rules import TASK_RULES, TaskRules
from trainer.data.targets import FittedTarget
from trainer.metrics.arrays import FloatArray, Int64Array
from trainer.metrics.labels import class_indices, predicted_positive
from trainer.task_names import TaskName

Column = pl.Series | FloatArray | Int64Array
Interval = tuple[FloatArray, FloatArray]


class TaskKind(ABC):
    """The form of the targets and predictions of a task.

    Targets y and predictions p have shape (rows, k), with one column per class (binary: the positive
    class), label or target column. `names` are the classes (binary: the negative, then the positive
    one), the labels, or the target columns.
    """

    name: ClassVar[TaskName]

    @property
    def rules(self) -> TaskRules:
        """What the task predicts and which settings fit it."""
        return TASK_RULES[self.name]

    def prediction_names(self, names: Sequence[str]) -> list[str]:
        """Return the names of the columns of p in a predictions file."""
        prefix = "probability" if self.rules.has_classes else "predicted"
        return [f"{prefix}_{name}" for name in self.rules.scored_names(names)]

    @abstractmethod
    def prediction_columns(
        self, target: FittedTarget, p: FloatArray, threshold: float, interval: Interval | None
    ) -> dict[str, Column]:
        """Return predictions as named columns for the user.

        Args:
            target: The fitted target.
            p: Predictions (rows, k).
            threshold: A label is positive at or above this probability.
            interval: Both ends of the prediction intervals, (rows, k); None without intervals.
        """

    def predicted_labels(self, p: FloatArray, threshold: float) -> Int64Array:
        """Return whether each label is predicted, (rows, k) of 0 and 1."""
        return np.asarray(predicted_positive(p, threshold), np.int64)

    def head_units(self, head: HeadKind, columns: int) -> int:
        """Return the units of the output layer for k columns of y."""
        return columns

    def encode_for_head(self, y: FloatArray, units: int) -> FloatArray:
        """Return y with one column per unit of the output layer."""
        assert y.shape[1] == units, (y.shape, units)
        return y

    def decode_from_head(self, outputs: FloatArray) -> FloatArray:
        """Return outputs, or targets encoded for the head, in the form of p."""
        return outputs

    def json_values(self, y: FloatArray, classes: Sequence[str]) -> list[Any]:
        """Return targets as JSON values, one per row: the class as text, or a list of numbers."""
        return list(y.tolist())


class ExclusiveTask(TaskKind):
    """A task whose rows have exactly one class each."""

    def prediction_columns(
        self, target: FittedTarget, p: FloatArray, threshold: float, interval: Interval | None
    ) -> dict[str, Column]:
        """Return `label`, the predicted class, and `probability_<class>` for each class."""
        labels = self.predicted_labels(p, threshold)[:, 0]
        columns: dict[str, Column] = {"label": pl.Series(target.classes).gather(labels)}
        for name, column in zip(target.classes, self.class_probabilities(p).T, strict=True):
            columns[f"probability_{name}"] = column
        return columns

    def class_probabilities(self, p: FloatArray) -> FloatArray:
        """Return the probability of each class, (rows, classes)."""
        return p

    def json_values(self, y: FloatArray, classes: Sequence[str]) -> list[Any]:
        """Return the class of each row as text."""
        return [classes[index] for index in class_indices(y)]
