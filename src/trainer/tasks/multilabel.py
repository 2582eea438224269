"""Multilabel classification: any number of labels per row."""

from __future__ import annotations

from typing import ClassVar

from trainer.data.label_lists import join_labels
from trainer.data.targets import FittedTarget
from trainer.metrics.arrays import FloatArray
from trainer.task_names import TaskName
from trainer.tasks.base import Column, Interval, TaskKind


class Multilabel(TaskKind):
    """y (rows, labels) is 1 for the labels that a row has."""

    name: ClassVar[TaskName] = "multilabel"

    def prediction_columns(
        self, target: FittedTarget, p: FloatArray, threshold: float, interval: Interval | None
    ) -> dict[str, Column]:
        """Return the predicted labels and the probability of each.

        For lists of labels: `labels`, joined as in the table, and `probability_<label>` for each label.
        For yes/no columns: `label_<column>` and `probability_<column>` for each column.
        """
        labels = self.predicted_labels(p, threshold)
        columns: dict[str, Column] = {}
        if target.has_label_lists:
            columns["labels"] = join_labels(labels, target.classes, target.separator)
        for number, name in enumerate(target.names):
            if not target.has_label_lists:
                columns[f"label_{name}"] = labels[:, number]
            columns[f"probability_{name}"] = p[:, number]
        return columns
