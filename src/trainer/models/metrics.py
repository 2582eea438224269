"""Exact metrics over all rows, as scikit-learn computes them, in NumPy.

Keras's running metrics are not exact over batches and are not used.

The conventions are those of scikit-learn with all classes as `labels` and `zero_division=0`:

- precision, recall, f1, specificity and mcc are 0 where their denominator is 0;
- for multiclass and multilabel, precision, recall, f1, auc and average_precision are macro averages:
  the unweighted mean over all classes (one-vs-rest) or columns. A class without true or predicted rows
  counts as 0 in precision, recall and f1;
- balanced_accuracy is the mean recall of the classes that have rows;
- auc is nan if a class has no rows, or all of them;
- average_precision of a class without rows is 0;
- multilabel accuracy is the fraction of correct labels, not of rows with all labels correct;
- log_loss clips probabilities to [ε, 1 - ε], where ε is the resolution of p's dtype; for multilabel it
  is the mean over rows and columns;
- brier is the mean of (p - y)² for binary and multilabel, and of Σ (p - y)² over the classes for
  multiclass;
- every metric is nan without rows, if the weights sum to 0, or if a prediction is not finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.config.data import TaskName
from trainer.config.objectives import MetricName
from trainer.models.ranking_metrics import average_precision, roc_auc, top_k_hits
from trainer.models.regression_metrics import regression_metric

FloatArray = npt.NDArray[np.floating]
Float64Array = npt.NDArray[np.float64]


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
        y: Targets (n, k): binary (n, 1) of 0 and 1; multiclass one-hot; multilabel 0 and 1;
            regression in the target's unit.
        p: Predictions (n, k), probabilities or numbers; binary (n, 1), of the positive class.
        weight: (n,) nonnegative sample weights, or None for equal weights.
        threshold: Minimum probability of a positive label (binary, multilabel).

    Returns:
        Name → value; nan where undefined.
    """
    assert y.shape == p.shape, (y.shape, p.shape)
    if len(y) == 0 or not np.isfinite(p).all() or (weight is not None and not weight.sum() > 0):
        return dict.fromkeys(names, float("nan"))
    weights = None if weight is None else weight.astype(np.float64)
    match task:
        case "regression":
            targets, predictions = y.astype(np.float64), p.astype(np.float64)
            return {name: regression_metric(name)(targets, predictions, weights) for name in names}
        case "binary" | "multilabel":
            labels = _Labels(
                columns=tuple(_count_columns(y, predicted_positive(p, threshold), weights)),
                task=task,
            )
        case "multiclass":
            labels = _Labels(columns=(_count_classes(y, p, weights),), task=task)
    return {name: _label_metric(name, labels, y, p, weights) for name in names}


def predicted_positive(p: FloatArray, threshold: float) -> npt.NDArray[np.bool_]:
    """Return which probabilities are predicted positive: those ≥ `threshold`, compared in float64.

    All code that converts probabilities to labels uses this function, so that labels agree with the
    metrics. Comparing in float32 would not: a chosen threshold can lie between two float32 neighbors.
    """
    positive: npt.NDArray[np.bool_] = p.astype(np.float64) >= threshold
    return positive


@dataclass(frozen=True, slots=True)
class _Counts:
    """Total weight of the true, predicted and correctly predicted rows of each class; (classes,)."""

    true: Float64Array
    predicted: Float64Array
    correct: Float64Array


@dataclass(frozen=True, slots=True)
class _Labels:
    """The counts of each column: one column for binary and multiclass, k for multilabel."""

    columns: tuple[_Counts, ...]
    task: TaskName

    def positives(self) -> _Counts:
        """Return the counts to average over: the positive class of each column, or every class."""
        if self.task == "multiclass":
            return self.columns[0]
        return _Counts(
            true=np.array([counts.true[1] for counts in self.columns]),
            predicted=np.array([counts.predicted[1] for counts in self.columns]),
            correct=np.array([counts.correct[1] for counts in self.columns]),
        )


def _count(
    true: npt.NDArray[np.intp],
    predicted: npt.NDArray[np.intp],
    weight: Float64Array | None,
    classes: int,
) -> _Counts:
    hits = true == predicted
    hit_weight = None if weight is None else weight[hits]
    return _Counts(
        true=np.bincount(true, weight, classes).astype(np.float64),
        predicted=np.bincount(predicted, weight, classes).astype(np.float64),
        correct=np.bincount(true[hits], hit_weight, classes).astype(np.float64),
    )


def _count_columns(
    y: FloatArray, positive: npt.NDArray[np.bool_], weight: Float64Array | None
) -> list[_Counts]:
    true = (y > 0.5).astype(np.intp)
    predicted = positive.astype(np.intp)
    return [_count(true[:, k], predicted[:, k], weight, 2) for k in range(y.shape[1])]


def _count_classes(y: FloatArray, p: FloatArray, weight: Float64Array | None) -> _Counts:
    return _count(np.argmax(y, axis=1), np.argmax(p, axis=1), weight, y.shape[1])


def _label_metric(
    name: MetricName, labels: _Labels, y: FloatArray, p: FloatArray, weight: Float64Array | None
) -> float:
    match name:
        case "accuracy":
            accuracies = [counts.correct.sum() / counts.true.sum() for counts in labels.columns]
            return float(np.mean(accuracies))
        case "balanced_accuracy":
            counts = labels.columns[0]
            present = counts.true > 0
            return float(np.mean(counts.correct[present] / counts.true[present]))
        case "precision":
            counts = labels.positives()
            return float(np.mean(_divide(counts.correct, counts.predicted)))
        case "recall":
            counts = labels.positives()
            return float(np.mean(_divide(counts.correct, counts.true)))
        case "specificity":
            counts = labels.columns[0]
            return float(_divide(counts.correct, counts.true)[0])
        case "f1":
            counts = labels.positives()
            return float(np.mean(_divide(2 * counts.correct, counts.true + counts.predicted)))
        case "mcc":
            return _matthews_correlation(labels.columns[0])
        case "auc":
            return float(np.mean([roc_auc(y[:, k], p[:, k], weight) for k in range(y.shape[1])]))
        case "average_precision":
            areas = [average_precision(y[:, k], p[:, k], weight) for k in range(y.shape[1])]
            return float(np.mean(areas))
        case "log_loss":
            return _log_loss(labels.task, y, p, weight)
        case "brier":
            squares = (p.astype(np.float64) - y) ** 2
            is_multiclass = labels.task == "multiclass"
            per_row = squares.sum(axis=1) if is_multiclass else squares.mean(axis=1)
            return float(np.average(per_row, weights=weight))
        case "top_3_accuracy":
            return float(np.average(top_k_hits(np.argmax(y, axis=1), p, 3), weights=weight))
        case "top_5_accuracy":
            return float(np.average(top_k_hits(np.argmax(y, axis=1), p, 5), weights=weight))
        case _:
            raise AssertionError(f"{name} is not a classification metric")


def _divide(numerator: Float64Array, denominator: Float64Array) -> Float64Array:
    """Divide elementwise; 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _matthews_correlation(counts: _Counts) -> float:
    """Gorodkin's R_K, for two classes Matthews' coefficient; 0 if labels or predictions are constant."""
    total = counts.true.sum()
    covariance = counts.correct.sum() * total - np.dot(counts.true, counts.predicted)
    predicted_variance = total**2 - np.dot(counts.predicted, counts.predicted)
    true_variance = total**2 - np.dot(counts.true, counts.true)
    # Rounding errors of a constant are not variance.
    if min(predicted_variance, true_variance) <= 1e-14 * total**2:
        return 0.0
    return float(covariance / np.sqrt(predicted_variance * true_variance))


def _log_loss(task: TaskName, y: FloatArray, p: FloatArray, weight: Float64Array | None) -> float:
    epsilon = np.finfo(p.dtype).eps
    clipped = np.clip(p.astype(np.float64), epsilon, 1 - epsilon)
    if task == "multiclass":
        per_row = -np.sum(np.where(y > 0.5, np.log(clipped), 0.0), axis=1)
    else:
        per_row = -np.mean(np.where(y > 0.5, np.log(clipped), np.log1p(-clipped)), axis=1)
    return float(np.average(per_row, weights=weight))
