"""The output of a network that a heat map of an image explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.config.losses import center_quantile
from trainer.metrics.arrays import Float64Array, FloatArray, Int64Array
from trainer.tasks.task import Task


@dataclass(frozen=True, slots=True, eq=False)
class ExplainedOutputs:
    """One output for each of n rows: the predicted class, the likeliest label, or the first number.

    Attributes:
        names: The class, label or column.
        columns: (n,) its column of the predictions.
        is_complement: (n,) whether its probability is 1 minus that column: of two classes the negative.
        units: (n,) the unit of the output layer.
        signs: (n,) -1 if its score falls with that unit, else 1.
    """

    names: tuple[str, ...]
    columns: Int64Array
    is_complement: Int64Array
    units: Int64Array
    signs: Int64Array

    def scores(self, predictions: FloatArray, part: slice = slice(None)) -> Float64Array:
        """Return the probability or number of each row, for predictions (m, k) of a part of the rows."""
        columns = self.columns[part]
        values = predictions[np.arange(len(columns)), columns].astype(np.float64)
        return np.where(self.is_complement[part] == 1, 1 - values, values)


def explained_outputs(task: Task, predictions: FloatArray) -> ExplainedOutputs:
    """Return the output to explain for each row.

    Args:
        task: The task, with the decisions of the run.
        predictions: (n, k), without quantiles.
    """
    rules, target = task.kind.rules, task.target
    zeros = np.zeros(len(predictions), np.int64)
    if rules.has_positive_class:
        classes = task.predicted_labels(predictions)[:, 0]
        is_negative = 1 - classes
        has_unit_each = task.outputs == 2
        return ExplainedOutputs(
            tuple(target.classes[index] for index in classes),
            zeros,
            is_negative,
            classes if has_unit_each else zeros,
            zeros + 1 if has_unit_each else 1 - 2 * is_negative,
        )
    columns = zeros
    if rules.has_classes:
        columns = predictions.argmax(axis=1).astype(np.int64)
    units = columns * task.loss.outputs_per_target
    if task.quantiles and not task.loss.kind.has_mean:
        units += center_quantile(task.quantiles)
    names = tuple(target.names[index] for index in columns)
    return ExplainedOutputs(names, columns, zeros, units, zeros + 1)
