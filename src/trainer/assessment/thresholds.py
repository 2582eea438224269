"""Decision thresholds: the best one by a criterion, and metrics as functions of the threshold.

Considers one column of validation rows and every rule `p >= threshold` that differs on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from trainer.metrics.arrays import Float64Array, FloatArray
from trainer.metrics.confusion import Confusion

POINTS = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """The lowest total cost, given the cost of a false positive and of a false negative in any unit."""

    false_positive: float
    false_negative: float


@dataclass(frozen=True, slots=True)
class PrecisionFloor:
    """The highest recall with a precision of at least this, from 0 to 1."""

    precision: float


Criterion = Literal["f1", "youden"] | Cost | PrecisionFloor
"""youden: the highest recall + specificity - 1 (Youden 1950)."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Metrics of the rule `p >= threshold`; 0 where a denominator is 0."""

    threshold: float
    precision: float
    recall: float
    specificity: float
    f1: float
    predicted_share: float
    """The fraction of rows predicted positive."""


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The threshold chosen by a criterion.

    Attributes:
        threshold: None where the criterion cannot be met: no rule has that precision.
        value: F1, Youden's J, the cost per row, or the recall; where the criterion cannot be met, the
            highest precision.
        point: All metrics at the threshold, or at the nearest one where the criterion cannot be met.
    """

    threshold: float | None
    value: float
    point: OperatingPoint


@dataclass(frozen=True, slots=True, eq=False)
class ThresholdCurve:
    """Metrics by threshold: arrays (m,) of the fields of `OperatingPoint`, sorted by threshold."""

    threshold: Float64Array
    precision: Float64Array
    recall: Float64Array
    specificity: Float64Array
    f1: Float64Array
    predicted_share: Float64Array

    def at(self, index: int) -> OperatingPoint:
        """Return the metrics at one of the thresholds."""
        return OperatingPoint(
            float(self.threshold[index]),
            float(self.precision[index]),
            float(self.recall[index]),
            float(self.specificity[index]),
            float(self.f1[index]),
            float(self.predicted_share[index]),
        )


def choose_threshold(
    y: FloatArray, p: FloatArray, criterion: Criterion, weight: Float64Array | None = None
) -> ThresholdChoice:
    """Choose the best threshold by a criterion on these rows, which must not be test rows.

    Thresholds are midpoints between neighboring probabilities, so equal probabilities are always on the
    same side. Ties are resolved by the distance to 0.5, then the lower threshold.

    Args:
        y: (n,) or (n, 1) of 0 and 1; n at least 1.
        p: Probabilities, of the same shape.
        criterion: What to optimize.
        weight: (n,) with a sum above 0, or None.
    """
    column = SortedColumn(y, p, weight)
    candidates = column.evaluate(column.distinct_thresholds())
    scores: Float64Array
    match criterion:
        case "f1":
            scores = candidates.f1
        case "youden":
            scores = candidates.recall + candidates.specificity - 1
        case Cost():
            false_positives, false_negatives = column.error_shares(candidates.threshold)
            scores = -(
                criterion.false_positive * false_positives
                + criterion.false_negative * false_negatives
            )
        case PrecisionFloor():
            enough = (candidates.precision >= criterion.precision) & (
                candidates.predicted_share > 0
            )
            if not enough.any():
                index = _best(candidates.precision, candidates.threshold)
                return ThresholdChoice(
                    None, float(candidates.precision[index]), candidates.at(index)
                )
            scores = np.where(enough, candidates.recall, -1.0)
        case _:
            assert_never(criterion)
    index = _best(scores, candidates.threshold)
    value = float(scores[index])
    return ThresholdChoice(
        float(candidates.threshold[index]),
        -value if isinstance(criterion, Cost) else value,
        candidates.at(index),
    )


def threshold_curve(
    y: FloatArray, p: FloatArray, weight: Float64Array | None = None, points: int = POINTS
) -> ThresholdCurve:
    """Compute metrics for thresholds from 0 to 1: half evenly spaced, half at quantiles of the rows.

    Args:
        y: (n,) or (n, 1) of 0 and 1; n at least 1.
        p: Probabilities, of the same shape.
        weight: (n,) with a sum above 0, or None.
        points: Approximate number of thresholds.
    """
    column = SortedColumn(y, p, weight)
    candidates = column.distinct_thresholds()
    count = min(points // 2, len(candidates))
    index = np.linspace(0, len(candidates) - 1, count).round().astype(np.intp)
    even = np.linspace(0, 1, points // 2 + 1)
    return column.evaluate(np.unique(np.concatenate([even, candidates[index]])))


class SortedColumn:
    """Rows sorted by probability, with cumulative weights."""

    def __init__(self, y: FloatArray, p: FloatArray, weight: Float64Array | None) -> None:
        """Sort the rows.

        Args:
            y: (n,) or (n, 1) of 0 and 1.
            p: Probabilities, of the same shape.
            weight: (n,) or None.
        """
        scores = p.reshape(-1).astype(np.float64)
        rows = np.ones(len(scores)) if weight is None else weight.astype(np.float64)
        order = np.argsort(scores, kind="stable")
        rows, positive = rows[order], y.reshape(-1)[order] > 0.5
        self.p = scores[order]
        # The weight at or above each row; 0 after the last.
        self._positives, self._negatives = (
            np.append(np.cumsum(part[::-1])[::-1], 0.0)
            for part in (rows * positive, rows * ~positive)
        )

    def weights_at_or_above(self, thresholds: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return the weight of positives and of negatives at or above each threshold."""
        first = np.searchsorted(self.p, thresholds, side="left")
        return self._positives[first], self._negatives[first]

    def distinct_thresholds(self) -> Float64Array:
        """Return a threshold for every rule that differs on these rows, in ascending order."""
        distinct = np.unique(self.p)
        between = distinct[:-1] + (distinct[1:] - distinct[:-1]) / 2
        # Adjacent floats have no midpoint.
        between = np.where(between > distinct[:-1], between, distinct[1:])
        last = distinct[-1]
        above = (last + 1) / 2 if last < 1 else last
        above = above if above > last else np.nextafter(last, np.inf)
        return np.concatenate([[distinct[0] / 2], between, [above]])

    def evaluate(self, thresholds: Float64Array) -> ThresholdCurve:
        """Return the metrics at each threshold."""
        true_positives, false_positives = self.weights_at_or_above(thresholds)
        predicted = true_positives + false_positives
        counts = Confusion(self._positives[:1], self._negatives[:1], predicted, true_positives)
        return ThresholdCurve(
            thresholds,
            counts.precision(),
            counts.recall(),
            counts.specificity(),
            counts.f1(),
            predicted / counts.total,
        )

    def error_shares(self, thresholds: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return the fractions of all rows that are false positives and false negatives."""
        true_positives, false_positives = self.weights_at_or_above(thresholds)
        positives, total = self._positives[0], self._positives[0] + self._negatives[0]
        return false_positives / total, (positives - true_positives) / total


def _best(scores: Float64Array, thresholds: Float64Array) -> int:
    # Differences due to rounding are ties.
    tied = np.flatnonzero(scores >= scores.max() - 1e-12)
    return int(tied[np.argmin(np.abs(thresholds[tied] - 0.5))])
