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

from trainer.config.data import TaskName
from trainer.evaluation.predictions import Float64Array, FloatArray

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
        y: Targets (n, k) as `trainer.models.metrics.compute_metrics` takes them.
        weight: (n,) or None.
    """
    weighted = y if weight is None else y[weight > 0]
    if task == "regression":
        varies = len(weighted) > 1 and (weighted.min(axis=0) < weighted.max(axis=0)).all()
        return "r2" if varies else "rmse"
    if task == "multiclass":
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
        weight: (n,) of at least 0, not all 0; None for equal weights.
    """
    if not np.isfinite(p).all():
        return MetricInfluence(float("nan"), np.full(len(y), np.nan))
    w = np.ones(len(y)) if weight is None else weight.astype(np.float64)
    match metric:
        case "auc":
            return _mean([_auc(y[:, k], p[:, k], w) for k in range(y.shape[1])])
        case "accuracy":
            return _average(_accuracies(task, y, p), w)
        case "r2":
            return _mean([_r2(*column, w) for column in _columns(y, p)])
        case "rmse":
            return _mean([_rmse(*column, w) for column in _columns(y, p)])


def _columns(y: FloatArray, p: FloatArray) -> list[tuple[Float64Array, Float64Array]]:
    """Return target and prediction of each column."""
    actual, predicted = y.astype(np.float64), p.astype(np.float64)
    return [(actual[:, k], predicted[:, k]) for k in range(y.shape[1])]


def _mean(columns: list[MetricInfluence]) -> MetricInfluence:
    value = float(np.mean([column.value for column in columns]))
    return MetricInfluence(value, np.mean([column.influence for column in columns], axis=0))


def _average(values: Float64Array, w: Float64Array) -> MetricInfluence:
    """Return the weighted mean."""
    total = w.sum()
    value = float(np.dot(w, values) / total)
    return MetricInfluence(value, w * (values - value) / total)


def _accuracies(task: TaskName, y: FloatArray, p: FloatArray) -> Float64Array:
    """Return the share of correct labels of each row, (n,)."""
    if task == "multiclass":
        return np.asarray(y.argmax(axis=1) == p.argmax(axis=1), np.float64)
    correct = (p.astype(np.float64) >= _THRESHOLD) == (y > 0.5)
    return np.asarray(correct.mean(axis=1), np.float64)


def _auc(y: FloatArray, score: FloatArray, w: Float64Array) -> MetricInfluence:
    """Each positive contributes the share of negatives ranked below it, half of ties; and vice versa."""
    is_positive = y > 0.5
    positive, negative = w * is_positive, w * ~is_positive
    positive_weight, negative_weight = positive.sum(), negative.sum()
    order = np.argsort(score)
    ranked = score[order]
    positive, negative = positive[order] / positive_weight, negative[order] / negative_weight
    changes = ranked[1:] != ranked[:-1]
    if changes.all():
        below = np.cumsum(negative) - negative / 2
        above = 1 - (np.cumsum(positive) - positive / 2)
    else:
        first = np.flatnonzero(np.concatenate([[True], changes]))
        group = np.concatenate([[0], np.cumsum(changes)])
        negatives, positives = np.add.reduceat(negative, first), np.add.reduceat(positive, first)
        below = (np.cumsum(negatives) - negatives / 2)[group]
        above = (1 - (np.cumsum(positives) - positives / 2))[group]
    value = float(np.dot(positive, below))
    influence = np.empty_like(positive)
    influence[order] = positive * (below - value) + negative * (above - value)
    return MetricInfluence(value, influence)


def _r2(y: Float64Array, p: Float64Array, w: Float64Array) -> MetricInfluence:
    deviations = (y - np.average(y, weights=w)) ** 2
    errors = (y - p) ** 2
    total = np.dot(w, deviations)
    unexplained = np.dot(w, errors) / total
    return MetricInfluence(float(1 - unexplained), w * (unexplained * deviations - errors) / total)


def _rmse(y: Float64Array, p: Float64Array, w: Float64Array) -> MetricInfluence:
    mse = _average((y - p) ** 2, w)
    root = float(np.sqrt(mse.value))
    return MetricInfluence(root, mse.influence / (2 * root) if root > 0 else np.zeros_like(w))
