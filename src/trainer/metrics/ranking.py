"""ROC AUC, average precision and ranks of classes, with ties and weights."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.metrics.arrays import BoolArray, Float64Array, FloatArray


class _Bins(NamedTuple):
    """The bin of each row.

    Attributes:
        of_rows: (n,) bins: first the positives by score, then the negatives between scores, then the
            negatives tied with a score.
        scores: The number of distinct scores of positives.
        has_ties: Whether a negative is tied with a positive.
    """

    of_rows: npt.NDArray[np.intp]
    scores: int
    has_ties: bool


class _Sums(NamedTuple):
    """Weights of rows, by the s distinct scores of positives in descending order.

    Attributes:
        positives: (s,) the positives with each score.
        between: (s + 1,) the negatives between a score and the one before it, or after the last.
        tied: (s,) the negatives with each score; None without ties.
    """

    positives: Float64Array
    between: Float64Array
    tied: Float64Array | None


class ColumnRanking:
    """The order of one column of scores, computed once for all weightings.

    The distinct scores of positives, in descending order, divide the rows into bins: positives at each
    score, negatives between a score and the one before it, negatives tied with a score. A weighting then
    takes one pass over the rows and cumulative sums over the distinct scores. Equal weights only need
    the sorted scores of each class, which take a fraction of the memory.
    """

    def __init__(self, positive: BoolArray, score: FloatArray) -> None:
        """Keep the scores.

        Args:
            positive: (n,) whether each row is positive.
            score: (n,).
        """
        self._positive, self._score = positive, score

    def areas(self, weights: Float64Array | None) -> tuple[Float64Array, Float64Array]:
        """Compute ROC AUC and average precision for each weighting.

        Args:
            weights: (r, n), non-negative; None for one weighting of equal weights.

        Returns:
            ROC AUC (r,), NaN where all weight is on one class, and average precision (r,), 0 where
            positives have no weight.
        """
        if weights is None:
            area, precision = _areas(_equal_sums(self._positive, self._score))
            return np.array([area]), np.array([precision])
        areas = np.empty((2, len(weights)))
        for index, weight in enumerate(weights):
            areas[:, index] = _areas(self._sums(weight))
        return areas[0], areas[1]

    def influence(self, weight: Float64Array | None) -> tuple[float, Float64Array]:
        """Compute ROC AUC, and its derivative with respect to each row's weight, times that weight.

        Each positive contributes the fraction of negatives ranked below it, counting ties as half, and
        each negative the fraction of positives ranked above it.

        Args:
            weight: (n,) with a sum above 0 in both classes, or None.
        """
        sums = self._sums(weight)
        positives, between, tied = sums
        area, _ = _areas(sums)
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
        influence = np.concatenate(shares)[self._bins.of_rows]
        return area, influence if weight is None else weight * influence

    @cached_property
    def _bins(self) -> _Bins:
        positive, score = self._positive, self._score
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
        scores = int(has_positive.sum())
        bins = above + scores * ~is_positive
        if tied is not None:
            bins += (scores + 1) * tied
        of_rows = np.empty(len(score), np.intp)
        of_rows[order] = bins
        return _Bins(of_rows, scores, bool(tied is not None and tied.any()))

    def _sums(self, weight: Float64Array | None) -> _Sums:
        of_rows, size, has_ties = self._bins
        counts = np.bincount(of_rows, weight, (3 if has_ties else 2) * size + 1)
        sums: Float64Array = counts.astype(np.float64, copy=False)
        tied = sums[2 * size + 1 :] if has_ties else None
        return _Sums(sums[:size], sums[size : 2 * size + 1], tied)


def _equal_sums(positive: BoolArray, score: FloatArray) -> _Sums:
    """Return the numbers of rows, from the sorted scores of positives and of negatives."""
    scores, counts = _distinct(score[positive])
    negatives = score[~positive]
    negatives.sort()
    # The number of negatives with at most, and with less than, each score.
    at_most = np.searchsorted(negatives, scores, side="right")
    below = np.searchsorted(negatives, scores, side="left")
    between = np.empty(len(scores) + 1)
    between[0] = len(negatives)
    between[1:] = below
    between[:-1] -= at_most
    tied = at_most
    tied -= below
    return _Sums(counts, between, tied.astype(np.float64) if tied.any() else None)


def _distinct(scores: FloatArray) -> tuple[FloatArray, Float64Array]:
    """Return the distinct scores in descending order, and the number of rows with each; sorts them."""
    scores.sort()
    scores = scores[::-1]
    is_last = np.ones(len(scores), np.bool_)
    np.not_equal(scores[1:], scores[:-1], out=is_last[:-1])
    counts = np.diff(np.flatnonzero(is_last), prepend=-1).astype(np.float64)
    return scores[is_last], counts


def _areas(sums: _Sums) -> tuple[float, float]:
    """Return ROC AUC and average precision."""
    positives, between, tied = sums
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
    # If no row with this score or a higher one has weight, neither have its positives, so the term is 0.
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
