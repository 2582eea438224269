"""The headline metric of some predictions, and the influence of each row on it.

The influence of row i is u_i = w_i ∂value/∂w_i: its weight times the derivative of the metric with
respect to it. Influences sum to 0, those of a difference are the difference of the influences, and
Σ u_i² estimates the variance of the metric over samples of rows: the infinitesimal jackknife (Efron, The
Jackknife, the Bootstrap and Other Resampling Plans, 1982, chapter 6). For ROC AUC that is the estimate
of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988) with the divisor m in place of m - 1. It takes
one sort where a bootstrap takes hundreds of resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import Float64Array, FloatArray
from trainer.metrics.labels import row_accuracies, squared_errors
from trainer.metrics.ranking import ColumnRanking
from trainer.metrics.regression import r2_score
from trainer.task_names import TaskName

HeadlineMetric = Literal["auc", "accuracy", "r2", "rmse"]

_MAX_AUC_COLUMNS = 10
_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class MetricInfluence:
    """A metric with the influence of each row.

    Attributes:
        value: The value of the metric.
        influence: (n,).
    """

    value: float
    influence: Float64Array


def headline(task: TaskName, y: FloatArray, weight: FloatArray | None) -> HeadlineMetric:
    """Choose the metric that best summarizes predictions for these rows.

    Binary: auc. Multiclass: accuracy. Multilabel: auc, the macro average, with up to ten columns. With
    more columns, or where a column has rows of one class only: accuracy. Regression: r2; rmse where a
    column is constant.

    Args:
        task: The task.
        y: Targets (n, k) as `trainer.metrics.compute.compute_metrics` takes them.
        weight: (n,) or None.
    """
    weighted = y if weight is None else y[weight > 0]
    rules = TASK_RULES[task]
    if not rules.has_classes:
        varies = len(weighted) > 1 and (weighted.min(axis=0) < weighted.max(axis=0)).all()
        return "r2" if varies else "rmse"
    if rules.predicts_most_likely:
        return "accuracy"
    share = weighted.mean(axis=0) if len(weighted) else np.zeros(y.shape[1])
    has_auc = y.shape[1] <= _MAX_AUC_COLUMNS and ((share > 0) & (share < 1)).all()
    return "auc" if has_auc else "accuracy"


def influence_function(
    metric: HeadlineMetric, task: TaskName, y: FloatArray, p: FloatArray, weight: FloatArray | None
) -> MetricInfluence:
    """Compute the metric and the influence of each row; NaN where a prediction is not finite.

    Args:
        metric: The result of `headline` for these targets.
        task: The task.
        y: Targets (n, k).
        p: Predictions (n, k).
        weight: (n,), non-negative, not all 0; None for equal weights.
    """
    if not np.isfinite(p).all():
        return MetricInfluence(float("nan"), np.full(len(y), np.nan))
    w = np.ones(len(y)) if weight is None else weight.astype(np.float64)
    if metric == "accuracy":
        return _average(row_accuracies(task, y, p, _THRESHOLD), w)
    compute = {"auc": _auc, "r2": _r2, "rmse": _rmse}[metric]
    return _mean([compute(y[:, [k]], p[:, [k]], w) for k in range(y.shape[1])])


def _mean(columns: list[MetricInfluence]) -> MetricInfluence:
    value = float(np.mean([column.value for column in columns]))
    return MetricInfluence(value, np.mean([column.influence for column in columns], axis=0))


def _average(values: Float64Array, w: Float64Array) -> MetricInfluence:
    """Return the weighted mean."""
    total = w.sum()
    value = float(np.dot(w, values) / total)
    return MetricInfluence(value, w * (values - value) / total)


def _auc(y: FloatArray, p: FloatArray, w: Float64Array) -> MetricInfluence:
    return MetricInfluence(*ColumnRanking(y[:, 0] > 0.5, p[:, 0]).influence(w))


def _r2(y: FloatArray, p: FloatArray, w: Float64Array) -> MetricInfluence:
    targets, errors = y[:, 0].astype(np.float64), squared_errors(y, p)[:, 0]
    deviations = (targets - np.average(targets, weights=w)) ** 2
    variance = np.dot(w, deviations)
    value = float(r2_score(np.dot(w, errors), variance))
    return MetricInfluence(value, w * ((1 - value) * deviations - errors) / variance)


def _rmse(y: FloatArray, p: FloatArray, w: Float64Array) -> MetricInfluence:
    mse = _average(squared_errors(y, p)[:, 0], w)
    root = float(np.sqrt(mse.value))
    return MetricInfluence(root, mse.influence / (2 * root) if root > 0 else np.zeros_like(w))
