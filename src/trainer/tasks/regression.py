"""Regression: one or more numbers per row."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from trainer.data.column_names import free_name
from trainer.data.targets import FittedTarget
from trainer.metrics.arrays import FloatArray
from trainer.task_names import TaskName
from trainer.tasks.base import Column, Interval, TaskKind


class Regression(TaskKind):
    """y (rows, columns) has numbers, scaled by the fitted target to fit the head."""

    name: ClassVar[TaskName] = "regression"

    def encode_for_head(self, y: FloatArray, units: int) -> FloatArray:
        """Return y with each column repeated for each of its quantiles."""
        repeats, remainder = divmod(units, y.shape[1])
        assert remainder == 0, (y.shape, units)
        return y if repeats == 1 else np.repeat(y, repeats, axis=1)

    def prediction_columns(
        self, target: FittedTarget, p: FloatArray, threshold: float, interval: Interval | None
    ) -> dict[str, Column]:
        """Return `predicted_<column>`, and `predicted_<column>_low` and `_high`, the interval.

        `…_low_of_interval` if the name of another target column makes this the name of its prediction.
        """
        names, columns = self.prediction_names(target.columns), dict[str, Column]()
        for number, name in enumerate(names):
            columns[name] = p[:, number]
            if interval is not None:
                for end, values in zip(("low", "high"), interval, strict=True):
                    columns[free_name(f"{name}_{end}", names, "_of_interval")] = values[:, number]
        return columns
