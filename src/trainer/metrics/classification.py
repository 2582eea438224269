"""The classification metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import Float64Array, FloatArray, IntArray
from trainer.metrics.confusion import Confusion, matthews_corrcoef, safe_divide
from trainer.metrics.labels import class_log_losses, log_losses, predicted_positive, squared_errors
from trainer.metrics.ranking import ColumnRanking, classes_ranked_above
from trainer.metrics.weighting import WeightedMetrics
from trainer.task_names import TaskName

_CONFUSION = ("precision", "recall", "specificity", "f1")
_AREAS = ("auc", "average_precision")
_TOP = {"top_3_accuracy": 3, "top_5_accuracy": 5}


class LabelMetrics:
    """Classification metrics of fixed predictions.

    Only what the requested metrics need is computed, when it is first needed.
    """

    def __init__(self, task: TaskName, y: FloatArray, p: FloatArray, threshold: float) -> None:
        """Keep the predictions.

        Args:
            task: binary, multiclass or multilabel.
            y: Targets (n, k), 0 or 1; one-hot for multiclass.
            p: Finite probabilities (n, k).
            threshold: Minimum probability of a positive label (binary, multilabel).
        """
        self.task, self.y, self.p, self.threshold = task, y, p, threshold
        self.parts = y.shape[1]

    @property
    def part_names(self) -> tuple[str, ...]:
        """The metrics of one class against the rest, or of one column."""
        return tuple(_BY_PART)

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics of all classes or columns; for binary targets, those of the only column."""
        if TASK_RULES[self.task].has_positive_class:
            return self.part_names
        names = ["accuracy", *_CONFUSION, *_AREAS, "log_loss", "brier"]
        names += [f"{name}_micro" for name in _CONFUSION]
        names += [f"{name}_weighted" for name in (*_CONFUSION, *_AREAS)]
        if TASK_RULES[self.task].predicts_most_likely:
            # The true class is always among the k most likely of k classes.
            others = (name for name in _OF_CLASSES if name not in names)
            names += [name for name in others if self.parts > _TOP.get(name, 0)]
        return tuple(names)

    def weighted(self, weights: Float64Array | None) -> WeightedLabels:
        """Return the metrics under weights (r, n), each with a sum above 0; None for equal weights."""
        return WeightedLabels(self, weights)

    @cached_property
    def cells(self) -> IntArray:
        """Each row's cell of the confusion matrices.

        Multiclass: 2 · class + whether it is predicted, (n, 1); else 2 · label + predicted label of
        each column, int8 (n, k).
        """
        if TASK_RULES[self.task].predicts_most_likely:
            classes = np.argmax(self.y, axis=1)[:, None]
            return np.asarray(2 * classes + (classes == self.top_classes))
        positive = predicted_positive(self.p, self.threshold)
        cells = (self.y > 0.5).astype(np.int8)
        cells *= 2
        cells += positive
        return cells

    @cached_property
    def top_classes(self) -> npt.NDArray[np.intp]:
        """The most likely class of each row, (n, 1)."""
        return np.asarray(np.argmax(self.p, axis=1)[:, None])

    @cached_property
    def log_losses(self) -> Float64Array:
        return log_losses(self.y, self.p)

    @cached_property
    def class_log_losses(self) -> Float64Array:
        return class_log_losses(self.y, self.p)[:, None]

    @cached_property
    def squared_errors(self) -> Float64Array:
        return squared_errors(self.y, self.p)

    @cached_property
    def rankings(self) -> tuple[ColumnRanking, ...]:
        actual = self.y > 0.5
        return tuple(ColumnRanking(actual[:, k], self.p[:, k]) for k in range(self.parts))

    @cached_property
    def ranked_above(self) -> npt.NDArray[np.intp]:
        """How many classes rank above the true class of each row, (n, 1)."""
        return classes_ranked_above(np.argmax(self.y, axis=1), self.p)[:, None]


class WeightedLabels(WeightedMetrics):
    """Classification metrics of fixed predictions for each of r weightings."""

    def __init__(self, rows: LabelMetrics, weights: Float64Array | None) -> None:
        super().__init__(weights, len(rows.y))
        self.rows = rows

    def _compute_by_part(self, name: str) -> Float64Array:
        return _BY_PART[name](self)

    def overall(self, name: str) -> Float64Array:
        task = self.rows.task
        if TASK_RULES[task].has_positive_class:
            return self.by_part(name)[:, 0]
        if TASK_RULES[task].predicts_most_likely and name in _OF_CLASSES:
            return _OF_CLASSES[name](self)
        if name.endswith("_micro"):
            return _BY_CONFUSION[name.removesuffix("_micro")](self.confusion.pooled())
        if name.endswith("_weighted"):
            values, positive = self.by_part(name.removesuffix("_weighted")), self.confusion.positive
            # A class without rows has weight 0, so its undefined area does not matter.
            weighted = np.where(positive > 0, values * positive, 0.0).sum(axis=1)
            return safe_divide(weighted, positive.sum(axis=1))
        return np.asarray(self.by_part(name).mean(axis=1), np.float64)

    @cached_property
    def confusion(self) -> Confusion:
        """The counts of each class against the rest or of each column, (r, k)."""
        rows, sums_by_code = self.rows, self.weighting.sums_by_code
        if TASK_RULES[rows.task].predicts_most_likely:
            cells = sums_by_code(rows.cells, 2 * rows.parts)[:, 0]
            hits = cells[:, 1::2]
            positive = cells[:, ::2] + hits
            negative = positive.sum(axis=1, keepdims=True) - positive
            predicted = sums_by_code(rows.top_classes, rows.parts)[:, 0]
            return Confusion(positive, negative, predicted, hits)
        cells = sums_by_code(rows.cells, 4)
        rejected, false_positive, missed, hits = (cells[:, :, code] for code in range(4))
        return Confusion(hits + missed, rejected + false_positive, hits + false_positive, hits)

    @cached_property
    def areas(self) -> tuple[Float64Array, Float64Array]:
        """ROC AUC and average precision of each class or column, each (r, k)."""
        areas = [ranking.areas(self.weighting.weights) for ranking in self.rows.rankings]
        auc, precision = (np.stack(columns, axis=1) for columns in zip(*areas, strict=True))
        return auc, precision


_Metric = Callable[[WeightedLabels], Float64Array]

_BY_CONFUSION: Mapping[str, Callable[[Confusion], Float64Array]] = {
    "accuracy": Confusion.accuracy,
    "balanced_accuracy": Confusion.balanced_accuracy,
    "precision": Confusion.precision,
    "recall": Confusion.recall,
    "specificity": Confusion.specificity,
    "f1": Confusion.f1,
    "mcc": Confusion.mcc,
}


def _of_confusion(metric: Callable[[Confusion], Float64Array]) -> _Metric:
    return lambda labels: metric(labels.confusion)


_BY_PART: Mapping[str, _Metric] = {
    **{name: _of_confusion(metric) for name, metric in _BY_CONFUSION.items()},
    "auc": lambda labels: labels.areas[0],
    "average_precision": lambda labels: labels.areas[1],
    "log_loss": lambda labels: labels.weighting.means(labels.rows.log_losses),
    "brier": lambda labels: labels.weighting.means(labels.rows.squared_errors),
}
"""Metrics of one class against the rest, or of one column, each (r, k)."""


def _accuracy(labels: WeightedLabels) -> Float64Array:
    return np.asarray(labels.confusion.hits.sum(axis=1) / labels.weighting.total[:, 0])


def _balanced_accuracy(labels: WeightedLabels) -> Float64Array:
    has_rows = labels.confusion.positive > 0
    recalls = (labels.confusion.recall() * has_rows).sum(axis=1)
    return np.asarray(recalls / has_rows.sum(axis=1))


def _mcc(labels: WeightedLabels) -> Float64Array:
    counts = labels.confusion
    return matthews_corrcoef(counts.positive, counts.predicted, counts.hits)


def _top_accuracy(k: int) -> _Metric:
    return lambda labels: labels.weighting.means(labels.rows.ranked_above < k)[:, 0]


_OF_CLASSES: Mapping[str, _Metric] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "mcc": _mcc,
    "log_loss": lambda labels: labels.weighting.means(labels.rows.class_log_losses)[:, 0],
    "brier": lambda labels: labels.by_part("brier").sum(axis=1),
    **{name: _top_accuracy(k) for name, k in _TOP.items()},
}
"""Multiclass metrics that are not the mean over the classes, each (r,)."""
