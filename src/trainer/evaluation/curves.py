"""The curves of a column's order, and confusion matrices. Owns: points to draw, not the drawing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.evaluation.answers import Answers, Doubles, Floats
from trainer.evaluation.labels import call

POINTS = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points in the order in which the threshold falls; each (m,).

    Attributes:
        x: False positive rate (ROC) or recall.
        y: True positive rate (ROC) or precision.
        threshold: The rule is p >= threshold; inf calls nothing.
    """

    x: Doubles
    y: Doubles
    threshold: Doubles


def roc_curve(y: Floats, p: Floats, weight: Doubles | None = None, points: int = POINTS) -> Curve:
    """From (0, 0) to (1, 1); points on a straight line between others are left out.

    Of more than `points` only such are kept as lie evenly along the curve, so none that is left out is
    further than 2 / points from one that is kept.

    Args:
        y: (n,) of 0 and 1.
        p: (n,) probabilities.
        weight: (n,) or None.
        points: At most about how many.

    Returns:
        A rate is nan where its class has no weight.
    """
    hits, others, scores = _at_scores(y, p, weight)
    hits, others = np.append(0.0, hits), np.append(0.0, others)
    scores = np.append(np.inf, scores)
    if len(hits) > 2:
        ahead, behind = np.diff(hits), np.diff(others)
        bend = np.abs(ahead[1:] * behind[:-1] - ahead[:-1] * behind[1:]) > 0
        kept = np.concatenate([[True], bend, [True]])
        hits, others, scores = hits[kept], others[kept], scores[kept]
    return _thin(Curve(_rate(others), _rate(hits), scores), points)


def precision_recall_curve(
    y: Floats, p: Floats, weight: Doubles | None = None, points: int = POINTS
) -> Curve:
    """Precision against recall at each distinct probability, from the highest on.

    Ends where all positives are found. Thinned as `roc_curve`; between points the curve is a step, not
    a line (Davis & Goadrich 2006).

    Args:
        y: (n,) of 0 and 1.
        p: (n,) probabilities.
        weight: (n,) or None.
        points: At most about how many.

    Returns:
        Recall is nan without positives.
    """
    hits, others, scores = _at_scores(y, p, weight)
    last = int(np.searchsorted(hits, hits[-1])) + 1 if len(hits) and hits[-1] > 0 else len(hits)
    curve = Curve(_rate(hits)[:last], (hits / (hits + others))[:last], scores[:last])
    return _thin(curve, points)


def confusion_matrices(answers: Answers, threshold: float = 0.5) -> Doubles:
    """The weight of the rows by what they are and what they are called.

    Returns:
        (classes, classes), truth by call; for yes/no columns (columns, 2, 2).
    """
    truth, rows = answers.y > 0.5, answers.weights()
    called = call(answers.task, answers.p.astype(np.float64), threshold)
    if answers.task == "multiclass":
        cells = np.argmax(answers.y, axis=1) * truth.shape[1] + np.argmax(called, axis=1)
        size = truth.shape[1]
        return np.bincount(cells, rows, size**2).astype(np.float64).reshape(size, size)
    columns = [
        np.bincount(2 * true.astype(np.intp) + said, rows, 4).astype(np.float64).reshape(2, 2)
        for true, said in zip(truth.T, called.T, strict=True)
    ]
    return columns[0] if answers.task == "binary" else np.stack(columns)


def _at_scores(y: Floats, p: Floats, weight: Doubles | None) -> tuple[Doubles, Doubles, Doubles]:
    """Weight of the positives and of the negatives at or above each distinct score, falling."""
    rows = np.ones(len(p)) if weight is None else weight.astype(np.float64)
    falling = np.argsort(-p, kind="stable")
    score, positive = p[falling].astype(np.float64), (rows * (y > 0.5))[falling]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], len(p) > 0)[: len(p)])
    hits, called, score = np.cumsum(positive)[last], np.cumsum(rows[falling])[last], score[last]
    # A score at which nothing has weight is no step.
    moved = np.diff(called, prepend=0.0) > 0
    return hits[moved], np.maximum(called - hits, 0.0)[moved], score[moved]


def _rate(summed: Doubles) -> Doubles:
    whole = summed[-1] if len(summed) else 0.0
    return summed / whole if whole > 0 else np.full_like(summed, np.nan)


def _thin(curve: Curve, points: int) -> Curve:
    """Points that lie evenly along the curve, the ends among them."""
    if len(curve.x) <= points:
        return curve
    steps = np.abs(np.diff(np.nan_to_num(curve.x))) + np.abs(np.diff(np.nan_to_num(curve.y)))
    way = np.append(0.0, np.cumsum(steps))
    index = np.unique(np.searchsorted(way, np.linspace(0, way[-1], points), side="right") - 1)
    kept = np.unique(np.concatenate([[0], index, [len(way) - 1]]))
    return Curve(curve.x[kept], curve.y[kept], curve.threshold[kept])
