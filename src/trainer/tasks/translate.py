"""Translation: the target is a text, written token by token."""

from __future__ import annotations

from typing import Any, ClassVar

from trainer.data.targets import FittedTarget
from trainer.metrics.arrays import FloatArray
from trainer.task_names import TaskName
from trainer.tasks.base import Column, Interval, TaskKind


class Translate(TaskKind):
    """One text for each row; y has the ids of its tokens.

    `trainer.tasks.translation.TranslationTask` decodes the outputs of the network.
    """

    name: ClassVar[TaskName] = "translate"

    def prediction_columns(
        self, target: FittedTarget, p: FloatArray, threshold: float, interval: Interval | None
    ) -> dict[str, Column]:
        """Return no columns: outputs are ids, which the task of a run writes as text."""
        return {}

    def json_values(self, y: FloatArray, classes: Any) -> list[Any]:
        """Return the ids of the tokens of each row."""
        return [[int(token) for token in row] for row in y]
