"""ROC AUC, average precision and ranks of classes, with ties and weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.metrics.arrays import BoolArray, Float64Array, FloatArray


class ColumnRanking:
    """The order of one column of scores, computed once for all weightings.

    The distinct scores of positives, in descending order, divide the rows into bins: positives at each
    score, negatives between a score and the one before it, negatives tied with a score. A weighting then
    takes one pass over the rows and cumulative sums over the distinct scores.
    """

    def __init__(self, positive: BoolArray, score: FloatArray) -> None:
        """Assign each row to its bin.

        Args:
            positive: (n,) whether each row is positive.
            score: (n,).
        """
        order = np.argsort(score)[::-1]
        ranked, is_positive = score[order], positive[order]
        changes = ranked[1:] != ranked[:-1]
        tied: BoolArray | None = None
        if changes.all():
            has_positive = is_positive
            above: npt.NDArray[np.intp] = np.cumsum(is_positive) - is_positive
        else:
            last = np.flatnonzero(np.concatenate([changes, [True]]))
            group = np.concatenate([[0], np.cumsum(changes)])
            has_positive = np.diff(np.cumsum(is_positive)[last], prepend=0) > 0
            above = (np.cumsum(has_positive) - has_positive)[group]
            tied = has_positive[group] & ~is_positive
        self._score_count = int(has_positive.sum())
        # Positives by score, then negatives between scores, then negatives tied with a score.
        bins = above + self._score_count * ~is_positive
        if tied is not None:
            bins += (self._score_count + 1) * tied
        self._has_ties = bool(tied is not None and tied.any())
        self._bins = np.empty(len(score), np.intp)
        self._bins[order] = bins

    def areas(self, weights: Float64Array | None) -> tuple[Float64Array, Float64Array]:
        """Compute ROC AUC and average precision for each weighting.

        Args:
            weights: (r, n), non-negative; None for one weighting of equal weights.

        Returns:
            ROC AUC (r,), NaN where all weight is on one class, and average precision (r,), 0 where
            positives have no weight.
        """
        weightings = (None,) if weights is None else weights
        areas = np.empty((2, len(weightings)))
        for index, weight in enumerate(weightings):
            areas[:, index] = self._areas(*self._sums(weight))
        return areas[0], areas[1]

    def influence(self, weight: Float64Array | None) -> tuple[float, Float64Array]:
        """Compute ROC AUC, and its derivative with respect to each row's weight, times that weight.

        Each positive contributes the fraction of negatives ranked below it, counting ties as half, and
        each negative the fraction of positives ranked above it.

        Args:
            weight: (n,) with a sum above 0 in both classes, or None.
        """
        positives, between, tied = self._sums(weight)
        area, _ = self._areas(positives, between, tied)
        true_positives, false_positives = np.cumsum(positives), np.cumsum(between[:-1])
        if tied is not None:
            false_positives += np.cumsum(tied) - tied / 2
        positive_weight = true_positives[-1]
        negative_weight = between.sum() + (0.0 if tied is None else tied.sum())
        below = (1 - false_positives / negative_weight - area) / positive_weight
        above = np.concatenate([[0.0], true_positives])
        shares = [below, (above / positive_weight - area) / negative_weight]
        if tied is not None:
            shares.append(((above[:-1] + positives / 2) / positive_weight - area) / negative_weight)
        influence = np.concatenate(shares)[self._bins]
        return area, influence if weight is None else weight * influence

    def _sums(
        self, weight: Float64Array | None
    ) -> tuple[Float64Array, Float64Array, Float64Array | None]:
        """Return the weight of the positives at each score (s,), of the negatives between (s + 1,), and
        of those tied (s,); None without ties.
        """
        size = self._score_count
        counts = np.bincount(self._bins, weight, (3 if self._has_ties else 2) * size + 1)
        sums: Float64Array = counts.astype(np.float64, copy=False)
        tied = sums[2 * size + 1 :] if self._has_ties else None
        return sums[:size], sums[size : 2 * size + 1], tied

    @staticmethod
    def _areas(
        positives: Float64Array, between: Float64Array, tied: Float64Array | None
    ) -> tuple[float, float]:
        true_positives = np.cumsum(positives)
        # Negatives above each distinct score, then those tied with it as well.
        false_positives = np.cumsum(between[:-1])
        if not (len(true_positives) and true_positives[-1] > 0):
            return np.nan, 0.0
        misranked = 0.0
        if tied is not None:
            false_positives += np.cumsum(tied)
            misranked = -float(positives @ tied) / 2
        misranked += float(positives @ false_positives)
        positive_weight = true_positives[-1]
        negative_weight = false_positives[-1] + between[-1]
        predicted = false_positives
        predicted += true_positives
        # If no row with this score or a higher one has weight, neither have its positives, so the term
        # is 0.
        precision = np.divide(true_positives, predicted, out=predicted, where=predicted > 0)
        pairs = positive_weight * negative_weight
        area = (pairs - misranked) / pairs if negative_weight > 0 else np.nan
        return float(area), float(positives @ precision / positive_weight)


def roc_auc(positive: BoolArray, score: FloatArray, weight: Float64Array | None = None) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative) + ½ P(equal).

    Args:
        positive: (n,).
        score: (n,).
        weight: (n,) or None.

    Returns:
        nan if a class has no weight.
    """
    area, _ = ColumnRanking(positive, score).areas(None if weight is None else weight[None])
    return float(area[0])


def average_precision(
    positive: BoolArray, score: FloatArray, weight: Float64Array | None = None
) -> float:
    """Σ (increase in recall) · precision over descending distinct scores, without interpolation.

    Returns:
        0 without positives, as in scikit-learn.
    """
    _, area = ColumnRanking(positive, score).areas(None if weight is None else weight[None])
    return float(area[0])


def classes_ranked_above(classes: npt.NDArray[np.intp], score: FloatArray) -> npt.NDArray[np.intp]:
    """Return how many classes rank above the true one, (n,), given the scores, (n, classes).

    Among equal scores, the class with the higher number ranks first, as in scikit-learn.
    """
    rows = np.arange(len(classes))
    true_score = score[rows, classes][:, None]
    later = np.arange(score.shape[1])[None, :] > classes[:, None]
    return np.asarray(np.sum((score > true_score) | ((score == true_score) & later), axis=1))
