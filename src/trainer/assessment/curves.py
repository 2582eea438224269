"""ROC and precision-recall curves as points, and confusion matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.assessment.thresholds import SortedColumn
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import Float64Array, FloatArray
from trainer.metrics.labels import predicted_labels
from trainer.metrics.predictions import Predictions

POINTS = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points by descending threshold; each array (m,).

    Attributes:
        x: False positive rate (ROC) or recall.
        y: True positive rate (ROC) or precision.
        threshold: The rule is p >= threshold; inf predicts no positives.
    """

    x: Float64Array
    y: Float64Array
    threshold: Float64Array


def roc_curve(
    y: FloatArray, p: FloatArray, weight: Float64Array | None = None, points: int = POINTS
) -> Curve:
    """Compute the ROC curve from (0, 0) to (1, 1), without collinear points.

    With more than `points` points, a subset spaced evenly along the curve is kept, so that no removed
    point is further than 2 / points from a kept one.

    Args:
        y: (n,) of 0 and 1.
        p: (n,) probabilities.
        weight: (n,) or None.
        points: Approximate maximum number of points.

    Returns:
        A rate is NaN where its class has no weight.
    """
    true_positives, false_positives, scores = _cumulate(y, p, weight)
    true_positives = np.append(0.0, true_positives)
    false_positives = np.append(0.0, false_positives)
    scores = np.append(np.inf, scores)
    if len(scores) > 2:
        up, right = np.diff(true_positives), np.diff(false_positives)
        is_corner = np.abs(up[1:] * right[:-1] - up[:-1] * right[1:]) > 0
        kept = np.concatenate([[True], is_corner, [True]])
        true_positives, false_positives = true_positives[kept], false_positives[kept]
        scores = scores[kept]
    return _thin(Curve(_rate(false_positives), _rate(true_positives), scores), points)


def precision_recall_curve(
    y: FloatArray, p: FloatArray, weight: Float64Array | None = None, points: int = POINTS
) -> Curve:
    """Compute precision and recall at each distinct probability, in descending order.

    Ends where recall reaches 1. Thinned like `roc_curve`; between points the curve is a step, not a line
    (Davis & Goadrich 2006).

    Args:
        y: (n,) of 0 and 1.
        p: (n,) probabilities.
        weight: (n,) or None.
        points: Approximate maximum number of points.

    Returns:
        Recall is NaN without positives.
    """
    true_positives, false_positives, scores = _cumulate(y, p, weight)
    last = len(scores)
    if last and true_positives[-1] > 0:
        last = int(np.searchsorted(true_positives, true_positives[-1])) + 1
    precision = true_positives / (true_positives + false_positives)
    return _thin(Curve(_rate(true_positives)[:last], precision[:last], scores[:last]), points)


def confusion_matrices(predictions: Predictions, threshold: float = 0.5) -> Float64Array:
    """Compute the weight of the rows by actual and predicted class.

    Returns:
        (classes, classes), actual by predicted; for multilabel tasks (columns, 2, 2).
    """
    actual, rows = predictions.y > 0.5, predictions.weights()
    predicted = predicted_labels(predictions.task, predictions.p, threshold)
    rules = TASK_RULES[predictions.task]
    if rules.predicts_most_likely:
        size = actual.shape[1]
        cells = np.argmax(predictions.y, axis=1) * size + np.argmax(predicted, axis=1)
        return np.bincount(cells, rows, size**2).astype(np.float64).reshape(size, size)
    columns = [
        np.bincount(2 * a.astype(np.intp) + b, rows, 4).astype(np.float64).reshape(2, 2)
        for a, b in zip(actual.T, predicted.T, strict=True)
    ]
    return columns[0] if rules.has_positive_class else np.stack(columns)


def _cumulate(
    y: FloatArray, p: FloatArray, weight: Float64Array | None
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the weight of positives and of negatives at or above each distinct score, descending."""
    column = SortedColumn(y, p, weight)
    scores = np.unique(column.p)[::-1]
    true_positives, false_positives = column.weights_at_or_above(scores)
    # Scores of rows without weight are skipped.
    has_weight = np.diff(true_positives + false_positives, prepend=0.0) > 0
    return true_positives[has_weight], false_positives[has_weight], scores[has_weight]


def _rate(cumulative: Float64Array) -> Float64Array:
    total = cumulative[-1] if len(cumulative) else 0.0
    return cumulative / total if total > 0 else np.full_like(cumulative, np.nan)


def _thin(curve: Curve, points: int) -> Curve:
    """Return points spaced evenly along the curve, including both ends."""
    if len(curve.x) <= points:
        return curve
    steps = np.abs(np.diff(np.nan_to_num(curve.x))) + np.abs(np.diff(np.nan_to_num(curve.y)))
    length = np.append(0.0, np.cumsum(steps))
    index = np.searchsorted(length, np.linspace(0, length[-1], points), side="right") - 1
    kept = np.unique(np.concatenate([[0], index, [len(length) - 1]]))
    return Curve(curve.x[kept], curve.y[kept], curve.threshold[kept])
