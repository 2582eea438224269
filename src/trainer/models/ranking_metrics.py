"""Metrics of the order of predictions: ROC AUC, average precision, top-k. Numpy only.

Owns: one column at a time, ties and weights included. Does not own: which metrics a task has.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


def roc_auc(truth: FloatArray, score: FloatArray, weight: FloatArray | None) -> float:
    """Area under the ROC curve: P(score of a positive > that of a negative) + ½ P(equal).

    Args:
        truth: (n,) 0 or 1.
        score: (n,).
        weight: (n,) or None.

    Returns:
        nan when all weight lies on one class.
    """
    positives, negatives = _weights_by_score(truth, score, weight)
    below = np.cumsum(negatives) - negatives
    total = positives.sum() * negatives.sum()
    return float(np.dot(positives, below + negatives / 2) / total) if total > 0 else float("nan")


def average_precision(truth: FloatArray, score: FloatArray, weight: FloatArray | None) -> float:
    """Σ (recall - recall before) · precision over falling distinct scores; no interpolation.

    Returns:
        0 without positives, as scikit-learn says.
    """
    positives, negatives = _weights_by_score(truth, score, weight)
    total = positives.sum()
    if not total > 0:
        return 0.0
    hits = np.cumsum(positives[::-1])
    called = hits + np.cumsum(negatives[::-1])
    precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    return float(np.dot(positives[::-1], precision) / total)


def top_k_hits(truth: npt.NDArray[np.intp], scores: FloatArray, k: int) -> npt.NDArray[np.bool_]:
    """(n,) whether the class `truth` is among the k highest of `scores` (n, classes).

    Of equal scores the class with the higher number comes first, as in scikit-learn.
    """
    rows = np.arange(len(truth))
    own = scores[rows, truth][:, None]
    later = np.arange(scores.shape[1])[None, :] > truth[:, None]
    above = np.sum((scores > own) | ((scores == own) & later), axis=1)
    hits: npt.NDArray[np.bool_] = above < k
    return hits


def _weights_by_score(
    truth: FloatArray, score: FloatArray, weight: FloatArray | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The weight of positives and of negatives at each distinct score, in rising order."""
    order = np.argsort(score)
    ranked = score[order]
    if weight is None:
        positive = truth[order].astype(np.float64)
        negative = 1 - positive
    else:
        ordered = weight[order].astype(np.float64)
        positive = truth[order] * ordered
        negative = ordered - positive
    first = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    return np.add.reduceat(positive, first), np.add.reduceat(negative, first)
