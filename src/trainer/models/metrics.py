"""Exact metrics over all rows at once, as scikit-learn computes them. Numpy only.

Owns: every metric of the config, weighted, and the rule by which a probability becomes a label.
Does not own: Keras's running metrics, which are not exact over batches and are not used.

Conventions, all of them scikit-learn's with every class as label and `zero_division=0`:

- precision, recall, f1, specificity and mcc are 0 where nothing was to be found or called;
- with several classes or columns, precision, recall, f1, auc and average_precision are macro: the
  unweighted mean over all classes of the task, each against the rest, or over all columns. A class
  with neither true nor predicted rows counts as 0 in precision, recall and f1;
- balanced_accuracy is the mean recall of the classes that have rows;
- auc is nan when one class (for several: any of them) has no rows, or all of them;
- average_precision of a class without rows is 0;
- multilabel accuracy is the share of single labels that are right, not of rows that are all right;
- log_loss clips probabilities to [ε, 1 - ε], ε the resolution of p's dtype; multilabel: the mean
  over rows and columns;
- brier is the mean of (p - y)² for two classes and for yes/no columns, of Σ (p - y)² over the
  classes for several;
- every metric is nan without rows, with weights that sum to 0, or when a prediction is not finite.
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
    """Each named metric, in the order of `names`.

    Args:
        names: Metrics that fit the task.
        task: What is predicted.
        y: Targets (n, k): binary (n, 1) of 0 and 1; multiclass one-hot; multilabel 0 and 1;
            regression in the target's unit.
        p: Predictions (n, k), probabilities or numbers; binary (n, 1), of the positive class.
        weight: (n,) of at least 0, or None for equal weights.
        threshold: From which probability on a label is positive (binary, multilabel).

    Returns:
        Name → value; nan where it is not defined.
    """
    assert y.shape == p.shape, (y.shape, p.shape)
    if len(y) == 0 or not np.isfinite(p).all() or (weight is not None and not weight.sum() > 0):
        return dict.fromkeys(names, float("nan"))
    rows = None if weight is None else weight.astype(np.float64)
    match task:
        case "regression":
            numbers, predicted = y.astype(np.float64), p.astype(np.float64)
            return {name: regression_metric(name)(numbers, predicted, rows) for name in names}
        case "binary" | "multilabel":
            labels = _Labels(
                columns=tuple(_count_column(y, predicted_positive(p, threshold), rows)), task=task
            )
        case "multiclass":
            labels = _Labels(columns=(_count_classes(y, p, rows),), task=task)
    return {name: _measure(name, labels, y, p, rows) for name in names}


def predicted_positive(p: FloatArray, threshold: float) -> npt.NDArray[np.bool_]:
    """Which probabilities are called positive: those ≥ `threshold`, compared in float64.

    Everything that turns a probability into a label calls this, so that a label is the one that the
    metrics counted. A float32 threshold would not do: a chosen one can lie between two float32
    neighbours.
    """
    called: npt.NDArray[np.bool_] = p.astype(np.float64) >= threshold
    return called


@dataclass(frozen=True, slots=True)
class _Counts:
    """Weight of the rows by class: truly so, called so, both. Each (classes,)."""

    true: Float64Array
    called: Float64Array
    both: Float64Array


@dataclass(frozen=True, slots=True)
class _Labels:
    """The counts of each column: one for binary and multiclass, k for multilabel."""

    columns: tuple[_Counts, ...]
    task: TaskName

    def positives(self) -> _Counts:
        """What macro averages go over: the positive class of each column, or every class."""
        if self.task == "multiclass":
            return self.columns[0]
        return _Counts(
            true=np.array([counts.true[1] for counts in self.columns]),
            called=np.array([counts.called[1] for counts in self.columns]),
            both=np.array([counts.both[1] for counts in self.columns]),
        )


def _count(
    true: npt.NDArray[np.intp],
    called: npt.NDArray[np.intp],
    weight: Float64Array | None,
    classes: int,
) -> _Counts:
    right = true == called
    return _Counts(
        true=np.bincount(true, weight, classes).astype(np.float64),
        called=np.bincount(called, weight, classes).astype(np.float64),
        both=np.bincount(true[right], None if weight is None else weight[right], classes).astype(
            np.float64
        ),
    )


def _count_column(
    y: FloatArray, called: npt.NDArray[np.bool_], weight: Float64Array | None
) -> list[_Counts]:
    true = (y > 0.5).astype(np.intp)
    as_number = called.astype(np.intp)
    return [_count(true[:, k], as_number[:, k], weight, 2) for k in range(y.shape[1])]


def _count_classes(y: FloatArray, p: FloatArray, weight: Float64Array | None) -> _Counts:
    return _count(np.argmax(y, axis=1), np.argmax(p, axis=1), weight, y.shape[1])


def _measure(
    name: MetricName, labels: _Labels, y: FloatArray, p: FloatArray, weight: Float64Array | None
) -> float:
    match name:
        case "accuracy":
            rights = [counts.both.sum() / counts.true.sum() for counts in labels.columns]
            return float(np.mean(rights))
        case "balanced_accuracy":
            counts = labels.columns[0]
            seen = counts.true > 0
            return float(np.mean(counts.both[seen] / counts.true[seen]))
        case "precision":
            counts = labels.positives()
            return float(np.mean(_share(counts.both, counts.called)))
        case "recall":
            counts = labels.positives()
            return float(np.mean(_share(counts.both, counts.true)))
        case "specificity":
            counts = labels.columns[0]
            return float(_share(counts.both, counts.true)[0])
        case "f1":
            counts = labels.positives()
            return float(np.mean(_share(2 * counts.both, counts.true + counts.called)))
        case "mcc":
            return _matthews(labels.columns[0])
        case "auc":
            return float(np.mean([roc_auc(y[:, k], p[:, k], weight) for k in range(y.shape[1])]))
        case "average_precision":
            areas = [average_precision(y[:, k], p[:, k], weight) for k in range(y.shape[1])]
            return float(np.mean(areas))
        case "log_loss":
            return _log_loss(labels.task, y, p, weight)
        case "brier":
            squares = (p.astype(np.float64) - y) ** 2
            several = labels.task == "multiclass"
            per_row = squares.sum(axis=1) if several else squares.mean(axis=1)
            return float(np.average(per_row, weights=weight))
        case "top_3_accuracy":
            return float(np.average(top_k_hits(np.argmax(y, axis=1), p, 3), weights=weight))
        case "top_5_accuracy":
            return float(np.average(top_k_hits(np.argmax(y, axis=1), p, 5), weights=weight))
        case _:
            raise AssertionError(f"{name} is no metric of labels")


def _share(part: Float64Array, whole: Float64Array) -> Float64Array:
    """The quotient, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _matthews(counts: _Counts) -> float:
    """Gorodkin's R_K, for two classes Matthews' coefficient; 0 when either side is constant."""
    total = counts.true.sum()
    covariance = counts.both.sum() * total - np.dot(counts.true, counts.called)
    called = total**2 - np.dot(counts.called, counts.called)
    true = total**2 - np.dot(counts.true, counts.true)
    # What rounding leaves of a constant side is no variance.
    if min(called, true) <= 1e-14 * total**2:
        return 0.0
    return float(covariance / np.sqrt(called * true))


def _log_loss(task: TaskName, y: FloatArray, p: FloatArray, weight: Float64Array | None) -> float:
    epsilon = np.finfo(p.dtype).eps
    kept = np.clip(p.astype(np.float64), epsilon, 1 - epsilon)
    if task == "multiclass":
        per_row = -np.sum(np.where(y > 0.5, np.log(kept), 0.0), axis=1)
    else:
        per_row = -np.mean(np.where(y > 0.5, np.log(kept), np.log1p(-kept)), axis=1)
    return float(np.average(per_row, weights=weight))
