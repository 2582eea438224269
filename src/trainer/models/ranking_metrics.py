"""Ranking metrics of one column, with ties and sample weights: ROC AUC, average precision, top-k."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


def roc_auc(y_true: FloatArray, y_score: FloatArray, weight: FloatArray | None) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative) + ½ P(equal).

    Args:
        y_true: (n,) 0 or 1.
        y_score: (n,).
        weight: (n,) or None.

    Returns:
        nan if a class has no weight.
    """
    positives, negatives = _weights_by_score(y_true, y_score, weight)
    below = np.cumsum(negatives) - negatives
    total = positives.sum() * negatives.sum()
    return float(np.dot(positives, below + negatives / 2) / total) if total > 0 else float("nan")


def average_precision(y_true: FloatArray, y_score: FloatArray, weight: FloatArray | None) -> float:
    """Σ (increase in recall) · precision over descending distinct scores, without interpolation.

    Returns:
        0 without positives, as in scikit-learn.
    """
    positives, negatives = _weights_by_score(y_true, y_score, weight)
    total = positives.sum()
    if not total > 0:
        return 0.0
    hits = np.cumsum(positives[::-1])
    predicted = hits + np.cumsum(negatives[::-1])
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    return float(np.dot(positives[::-1], precision) / total)


def top_k_hits(y_true: npt.NDArray[np.intp], y_score: FloatArray, k: int) -> npt.NDArray[np.bool_]:
    """Return (n,) whether the true class is among the k highest scores of (n, classes).

    Among equal scores, the class with the higher number ranks first, as in scikit-learn.
    """
    rows = np.arange(len(y_true))
    true_score = y_score[rows, y_true][:, None]
    later = np.arange(y_score.shape[1])[None, :] > y_true[:, None]
    above = np.sum((y_score > true_score) | ((y_score == true_score) & later), axis=1)
    hits: npt.NDArray[np.bool_] = above < k
    return hits


def _weights_by_score(
    y_true: FloatArray, y_score: FloatArray, weight: FloatArray | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the weights of positives and negatives at each distinct score, in ascending order."""
    order = np.argsort(y_score)
    sorted_scores = y_score[order]
    if weight is None:
        positive = y_true[order].astype(np.float64)
        negative = 1 - positive
    else:
        sorted_weight = weight[order].astype(np.float64)
        positive = y_true[order] * sorted_weight
        negative = sorted_weight - positive
    is_first = np.concatenate([[True], sorted_scores[1:] != sorted_scores[:-1]])
    first = np.flatnonzero(is_first)
    return np.add.reduceat(positive, first), np.add.reduceat(negative, first)
