"""Predictions of a model for some rows, with the targets: the input of every assessment."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import BoolArray, Float64Array, FloatArray, Int64Array, IntArray
from trainer.task_names import TaskName


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predictions and targets of some rows.

    Attributes:
        task: The task.
        names: Classes (binary: the negative, then the positive one), or target columns.
        y: (n, k) targets as `trainer.metrics.compute.compute_metrics` takes them: binary (n, 1) of 0
            and 1; multiclass one-hot; multilabel 0 and 1; regression in the target's unit.
        p: (n, k) probabilities, or predicted values. The log loss clips them by the epsilon of their
            dtype.
        rows: (n,) unique row numbers in the source.
        weight: (n,), non-negative, or None for equal weights.
        group: (n,) group codes, or None; the bootstrap resamples whole groups.
        quantiles: (n, q k) predicted quantiles, those of all columns for the first quantile, then for
            the next; None if there are none.
    """

    task: TaskName
    names: tuple[str, ...]
    y: FloatArray
    p: FloatArray
    rows: Int64Array
    weight: Float64Array | None = None
    group: IntArray | None = None
    quantiles: FloatArray | None = None

    def __post_init__(self) -> None:
        assert self.y.ndim == 2, self.y.shape
        assert self.y.shape == self.p.shape, (self.y.shape, self.p.shape)
        scored = TASK_RULES[self.task].scored_names(self.names)
        assert len(scored) == self.y.shape[1], self.names
        for array in (self.rows, self.weight, self.group):
            assert array is None or array.shape == (len(self.y),), array.shape

    def __len__(self) -> int:
        return len(self.y)

    def all_predictions(self) -> FloatArray:
        """Return the predictions, then the predicted quantiles, if any: (n, k) or (n, k + q k)."""
        return self.p if self.quantiles is None else np.hstack([self.p, self.quantiles])

    def weights(self) -> Float64Array:
        """Return the weights (n,); 1 where there are none."""
        if self.weight is None:
            return np.ones(len(self), np.float64)
        return self.weight.astype(np.float64)

    def take(self, index: IntArray | BoolArray) -> Predictions:
        """Return the rows selected by an index array or a boolean mask (n,)."""
        return replace(
            self,
            y=self.y[index],
            p=self.p[index],
            rows=self.rows[index],
            weight=None if self.weight is None else self.weight[index],
            group=None if self.group is None else self.group[index],
            quantiles=None if self.quantiles is None else self.quantiles[index],
        )
