"""Some metrics of one weighting, by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.config.metrics import MetricName
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import FloatArray
from trainer.metrics.classification import LabelMetrics
from trainer.metrics.regression import RegressionMetrics
from trainer.task_names import TaskName


def make_metrics(
    task: TaskName, y: FloatArray, p: FloatArray, threshold: float
) -> LabelMetrics | RegressionMetrics:
    """Return the metrics of a task for fixed predictions, to be computed for any weighting.

    Args:
        task: Name of the task.
        y: Targets (n, k): binary (n, 1) of 0 and 1; multiclass one-hot; multilabel 0 and 1;
            regression in the target's unit.
        p: Finite predictions (n, k), probabilities or numbers; binary (n, 1), of the positive class.
        threshold: Minimum probability of a positive label (binary, multilabel).
    """
    if TASK_RULES[task].has_classes:
        return LabelMetrics(task, y, p, threshold)
    return RegressionMetrics(y, p)


def compute_metrics(
    names: Sequence[MetricName],
    task: TaskName,
    y: FloatArray,
    p: FloatArray,
    weight: FloatArray | None,
    threshold: float,
) -> dict[str, float]:
    """Compute the named metrics, in the order of `names`.

    Args:
        names: Metrics that fit the task.
        task: Name of the task.
        y: Targets (n, k), as for `make_metrics`.
        p: Predictions (n, k).
        weight: (n,) non-negative sample weights, or None for equal weights.
        threshold: Minimum probability of a positive label (binary, multilabel).

    Returns:
        Name → value; nan where undefined.
    """
    assert y.shape == p.shape, (y.shape, p.shape)
    if len(y) == 0 or not np.isfinite(p).all() or (weight is not None and not weight.sum() > 0):
        return dict.fromkeys(names, float("nan"))
    weights = None if weight is None else weight[None].astype(np.float64)
    metrics = make_metrics(task, y, p, threshold).weighted(weights)
    return {name: float(metrics.overall(name)[0]) for name in names}
