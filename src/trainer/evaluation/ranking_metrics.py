"""ROC AUC and average precision for many weightings of the same rows at once.

The definitions are those of `trainer.models.ranking_metrics`, which computes one weighting.
"""

from __future__ import annotations

import numpy as np

from trainer.evaluation.predictions import BoolArray, Float64Array


class ColumnRanking:
    """The order of one column of scores, computed once for all weightings.

    The distinct scores of positives, in descending order, divide the rows into bins: positives at each
    score, negatives between a score and the one before it, negatives tied with a score. A weighting then
    takes one pass over the rows and cumulative sums over the distinct scores.
    """

    def __init__(self, positive: BoolArray, score: Float64Array) -> None:
        """Assign each row to its bin.

        Args:
            positive: (n,) whether each row is positive.
            score: (n,).
        """
        scores, index = np.unique(-score[positive], return_inverse=True)
        self._scores = len(scores)
        self._bins = np.empty(len(score), np.intp)
        self._bins[positive] = index
        above = np.searchsorted(scores, -score[~positive], side="left")
        tied = above < len(scores)
        tied[tied] = scores[above[tied]] == -score[~positive][tied]
        # Positives by score, then negatives between scores, then negatives tied with a score.
        self._bins[~positive] = np.where(tied, 2 * self._scores + 1, self._scores) + above
        self._has_ties = bool(tied.any())

    def areas(self, weights: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Compute ROC AUC and average precision for each weighting.

        Args:
            weights: (r, n) of at least 0.

        Returns:
            ROC AUC (r,), NaN where all weight is on one class, and average precision (r,), 0 where
            positives have no weight.
        """
        areas = np.full((2, len(weights)), np.nan)
        for index, line in enumerate(weights):
            sums = np.bincount(self._bins, line, 3 * self._scores + 1)
            areas[:, index] = self._areas(sums.astype(np.float64, copy=False))
        return areas[0], areas[1]

    def _areas(self, sums: Float64Array) -> tuple[float, float]:
        positives, between = sums[: self._scores], sums[self._scores : 2 * self._scores]
        true_positives = np.cumsum(positives)
        # Negatives above each distinct score, then those tied with it as well.
        false_positives = np.cumsum(between)
        if not (len(true_positives) and true_positives[-1] > 0):
            return np.nan, 0.0
        misranked = 0.0
        if self._has_ties:
            tied = sums[2 * self._scores + 1 :]
            false_positives += np.cumsum(tied)
            misranked = -float(positives @ tied) / 2
        misranked += float(positives @ false_positives)
        positive, negative = true_positives[-1], false_positives[-1] + sums[2 * self._scores]
        predicted = false_positives
        predicted += true_positives
        # Without any weight predicted positive, the positive itself has no weight either.
        precision = np.divide(true_positives, predicted, out=predicted, where=predicted > 0)
        area = 1 - misranked / (positive * negative) if negative > 0 else np.nan
        return float(area), float(positives @ precision / positive)
