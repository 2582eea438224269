"""Classification metrics for many weightings of the same rows at once.

The definitions are those of `trainer.models.metrics`, which computes named metrics of one weighting.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainer.config.data import TaskName
from trainer.evaluation.predictions import BoolArray, Float64Array, Predictions
from trainer.evaluation.ranking_metrics import ColumnRanking
from trainer.models.metrics import predicted_positive
from trainer.models.ranking_metrics import top_k_hits

AVERAGED = ("precision", "recall", "specificity", "f1")
RANKING_METRICS = ("auc", "average_precision")
TOP_KS = (3, 5)
_ClassCodes = npt.NDArray[np.intp]


def predicted_labels(task: TaskName, p: Float64Array, threshold: float) -> BoolArray:
    """Return the predicted classes or columns as (n, k) booleans.

    Binary and multilabel: probabilities of at least the threshold. Multiclass: the highest one.
    """
    if task != "multiclass":
        return predicted_positive(p, threshold)
    predicted = np.zeros(p.shape, np.bool_)
    if len(p):
        predicted[np.arange(len(p)), np.argmax(p, axis=1)] = True
    return predicted


class LabelMetrics:
    """Computes classification metrics of fixed predictions for any weighting of the rows."""

    def __init__(self, predictions: Predictions, threshold: float, *, ranked: bool) -> None:
        """Precompute per-row terms and sort orders.

        Args:
            predictions: Of a binary, multiclass or multilabel task.
            threshold: A label is positive from this probability on (binary, multilabel).
            ranked: Whether to compute areas under curves, which take most of the time.
        """
        task, p = predictions.task, predictions.p.astype(np.float64)
        self._task, self._parts = task, predictions.y.shape[1]
        actual, predicted = predictions.y > 0.5, predicted_labels(task, p, threshold)
        epsilon = np.finfo(predictions.p.dtype).eps
        clipped = np.clip(p, epsilon, 1 - epsilon)
        log_losses = -np.where(actual, np.log(clipped), np.log1p(-clipped))
        terms = [log_losses, (p - predictions.y) ** 2]
        self._classes: tuple[_ClassCodes, _ClassCodes] | None = None
        if task == "multiclass":
            classes, top = np.argmax(predictions.y, axis=1), np.argmax(p, axis=1)
            self._classes = 2 * classes + (classes == top), top
            terms.append(-np.where(actual, np.log(clipped), 0.0).sum(axis=1, keepdims=True))
            terms += [top_k_hits(classes, predictions.p, k)[:, None] for k in self._top_ks]
        else:
            terms += [actual, ~actual, predicted, actual & predicted]
        self._terms = np.concatenate(terms, axis=1, dtype=np.float64)
        self._rankings: tuple[ColumnRanking, ...] = ()
        if ranked:
            self._rankings = tuple(ColumnRanking(actual[:, k], p[:, k]) for k in range(self._parts))

    @property
    def _top_ks(self) -> tuple[int, ...]:
        return tuple(k for k in TOP_KS if self._task == "multiclass" and self._parts > k)

    def compute(
        self, weights: Float64Array
    ) -> tuple[dict[str, Float64Array], dict[str, Float64Array]]:
        """Compute every metric for each weighting.

        Args:
            weights: (r, n) of at least 0, each with a sum above 0.

        Returns:
            The overall metrics, each (r,), and those of every class against the rest or of every
            column, each (r, k).
        """
        total = weights.sum(axis=1)
        sums = weights @ self._terms
        k = self._parts
        positive, negative, predicted, hits = self._count(weights, sums)
        parts = _one_vs_rest(positive, negative, predicted, hits)
        if self._rankings:
            areas = [ranking.areas(weights) for ranking in self._rankings]
            parts["auc"] = np.stack([area for area, _ in areas], axis=1)
            parts["average_precision"] = np.stack([precision for _, precision in areas], axis=1)
        parts["log_loss"] = sums[:, :k] / total[:, None]
        parts["brier"] = sums[:, k : 2 * k] / total[:, None]
        if self._task == "binary":
            return {name: values[:, 0] for name, values in parts.items()}, parts
        overall = self._average(parts, positive, negative, predicted, hits, total)
        if self._task == "multiclass":
            overall["log_loss"] = sums[:, 2 * k] / total
            for index, top in enumerate(self._top_ks):
                overall[f"top_{top}_accuracy"] = sums[:, 2 * k + 1 + index] / total
        return overall, parts

    def _count(self, weights: Float64Array, sums: Float64Array) -> tuple[Float64Array, ...]:
        """Return the weight of actual positives, actual negatives, predicted positives and true
        positives of each class or column, each (r, k). Exactly 0 without such rows.
        """
        k = self._parts
        if self._classes is None:
            return tuple(sums[:, i * k : (i + 1) * k] for i in (2, 3, 4, 5))
        classes_and_hits, top = self._classes
        by_class = _sum_by_code(classes_and_hits, weights, 2 * k)
        hits = by_class[:, 1::2]
        positive = by_class[:, ::2] + hits
        negative = positive.sum(axis=1, keepdims=True) - positive
        return positive, negative, _sum_by_code(top, weights, k), hits

    def _average(
        self,
        parts: dict[str, Float64Array],
        positive: Float64Array,
        negative: Float64Array,
        predicted: Float64Array,
        hits: Float64Array,
        total: Float64Array,
    ) -> dict[str, Float64Array]:
        """Average over the parts: unweighted (macro), pooled decisions (micro), by rows (weighted)."""
        multiclass = self._task == "multiclass"
        names = [name for name in (*AVERAGED, *RANKING_METRICS) if name in parts]
        overall = {"accuracy": parts["accuracy"].mean(axis=1)}
        if multiclass:
            overall["accuracy"] = hits.sum(axis=1) / total
            has_rows = positive > 0
            recall = (parts["recall"] * has_rows).sum(axis=1)
            overall["balanced_accuracy"] = recall / has_rows.sum(axis=1)
        overall |= {name: parts[name].mean(axis=1) for name in names}
        if multiclass:
            overall["mcc"] = matthews_corrcoef(positive, predicted, hits, total)
        overall["log_loss"] = parts["log_loss"].mean(axis=1)
        brier = parts["brier"]
        overall["brier"] = brier.sum(axis=1) if multiclass else brier.mean(axis=1)
        micro = _one_vs_rest(
            positive.sum(axis=1), negative.sum(axis=1), predicted.sum(axis=1), hits.sum(axis=1)
        )
        overall |= {f"{name}_micro": micro[name] for name in AVERAGED}
        # A class without rows is left out, so its undefined area does not matter.
        for name in names:
            weighted = np.where(positive > 0, parts[name] * positive, 0.0).sum(axis=1)
            overall[f"{name}_weighted"] = safe_divide(weighted, positive.sum(axis=1))
        return overall


def safe_divide(numerator: Float64Array, denominator: Float64Array) -> Float64Array:
    """Divide elementwise; 0 where the denominator is 0."""
    out = np.zeros_like(numerator)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def matthews_corrcoef(
    positive: Float64Array, predicted: Float64Array, hits: Float64Array, total: Float64Array
) -> Float64Array:
    """Compute Gorodkin's R_K (2004), for two classes Matthews' coefficient; 0 if a side is constant.

    Args:
        positive: (r, k) weight of the rows of each class.
        predicted: (r, k) weight of the rows predicted to be of it.
        hits: (r, k) weight of the rows that are both.
        total: (r,) weight of all rows.
    """
    covariance = hits.sum(axis=1) * total - (positive * predicted).sum(axis=1)
    predicted_variance = total**2 - (predicted**2).sum(axis=1)
    actual_variance = total**2 - (positive**2).sum(axis=1)
    # Rounding errors of a constant side are not variance.
    varies = np.minimum(predicted_variance, actual_variance) > 1e-14 * total**2
    product = np.where(varies, predicted_variance * actual_variance, 1.0)
    return np.where(varies, covariance / np.sqrt(product), 0.0)


def _one_vs_rest(
    positive: Float64Array, negative: Float64Array, predicted: Float64Array, hits: Float64Array
) -> dict[str, Float64Array]:
    """Compute the metrics that follow from the confusion counts, each of the shape of `positive`."""
    total = positive + negative
    rejections = np.maximum(negative - predicted + hits, 0.0)
    recall, specificity = safe_divide(hits, positive), safe_divide(rejections, negative)
    sides = (positive > 0).astype(np.float64) + (negative > 0)
    actual_pairs, predicted_pairs, hit_pairs = (
        np.stack(pair, axis=-1).reshape(-1, 2)
        for pair in ((positive, negative), (predicted, total - predicted), (hits, rejections))
    )
    mcc = matthews_corrcoef(actual_pairs, predicted_pairs, hit_pairs, total.reshape(-1))
    return {
        "accuracy": (hits + rejections) / total,
        "balanced_accuracy": (recall + specificity) / sides,
        "precision": safe_divide(hits, predicted),
        "recall": recall,
        "specificity": specificity,
        "f1": safe_divide(2 * hits, positive + predicted),
        "mcc": mcc.reshape(positive.shape),
    }


def _sum_by_code(codes: _ClassCodes, weights: Float64Array, size: int) -> Float64Array:
    """Return the weight of each code in each weighting, (r, size)."""
    return np.stack([np.bincount(codes, line, size) for line in weights]).astype(np.float64)
