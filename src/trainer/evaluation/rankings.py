"""Area under the ROC curve and average precision for many weightings of the same rows at once.

Owns: one column; it is sorted once. The definitions are those of `trainer.models.ranking`, which does
one weighting.
"""

from __future__ import annotations

import numpy as np

from trainer.evaluation.answers import Bools, Doubles


class Ranking:
    """One column of probabilities against its truth.

    The distinct scores of positives, falling, divide the rows: negatives above a score and below the
    one before it, negatives at it, positives at it. Which of these a row belongs to is found once; a
    weighting then takes one pass over the rows and cumulative sums over the distinct scores.
    """

    def __init__(self, truth: Bools, score: Doubles) -> None:
        """Find each row's place.

        Args:
            truth: (n,).
            score: (n,).
        """
        scores, where = np.unique(-score[truth], return_inverse=True)
        self._scores = len(scores)
        self._slots = np.empty(len(score), np.intp)
        self._slots[truth] = where
        above = np.searchsorted(scores, -score[~truth], side="left")
        tied = above < len(scores)
        tied[tied] = scores[above[tied]] == -score[~truth][tied]
        # Positives by score, then negatives between scores, then negatives at a score.
        self._slots[~truth] = np.where(tied, 2 * self._scores + 1, self._scores) + above
        self._tied = bool(tied.any())

    def areas(self, weights: Doubles) -> tuple[Doubles, Doubles]:
        """Area under the ROC curve and average precision of each weighting.

        Args:
            weights: (r, n) of at least 0.

        Returns:
            Each (r,): the area is nan where all weight lies on one side, the average precision 0 where
            no weight is on positives.
        """
        areas = np.full((2, len(weights)), np.nan)
        for index, line in enumerate(weights):
            places = np.bincount(self._slots, line, 3 * self._scores + 1)
            areas[:, index] = self._area(places.astype(np.float64, copy=False))
        return areas[0], areas[1]

    def _area(self, places: Doubles) -> tuple[float, float]:
        positives, between = places[: self._scores], places[self._scores : 2 * self._scores]
        hits = np.cumsum(positives)
        # Negatives above each distinct score, then those at it as well.
        wrong = np.cumsum(between)
        if not (len(hits) and hits[-1] > 0):
            return np.nan, 0.0
        lost = 0.0
        if self._tied:
            tied = places[2 * self._scores + 1 :]
            wrong += np.cumsum(tied)
            lost = -float(positives @ tied) / 2
        lost += float(positives @ wrong)
        positive, negative = hits[-1], wrong[-1] + places[2 * self._scores]
        wrong += hits
        # Where nothing is called yet, the positive itself has no weight.
        precision = np.divide(hits, wrong, out=wrong, where=wrong > 0)
        area = 1 - lost / (positive * negative) if negative > 0 else np.nan
        return float(area), float(positives @ precision / positive)
