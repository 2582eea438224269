"""Confusion matrices, and metrics that follow from their counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.metrics.arrays import Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """The weight of rows by actual and predicted label, of one class against the rest.

    Attributes:
        positive: Weight of the positive rows; an array of any shape, or broadcastable to the others.
        negative: Weight of the negative rows.
        predicted: Weight of the rows predicted positive.
        hits: Weight of the positive rows predicted positive.
    """

    positive: Float64Array
    negative: Float64Array
    predicted: Float64Array
    hits: Float64Array

    @property
    def total(self) -> Float64Array:
        return self.positive + self.negative

    @property
    def rejections(self) -> Float64Array:
        """The weight of the rows that are neither positive nor predicted positive."""
        return np.maximum(self.negative - self.predicted + self.hits, 0.0)

    def accuracy(self) -> Float64Array:
        return (self.hits + self.rejections) / self.total

    def balanced_accuracy(self) -> Float64Array:
        """Return the mean recall over the classes (positive, negative) that have rows."""
        sides = (self.positive > 0).astype(np.float64) + (self.negative > 0)
        return (self.recall() + self.specificity()) / sides

    def precision(self) -> Float64Array:
        return safe_divide(self.hits, self.predicted)

    def recall(self) -> Float64Array:
        return safe_divide(self.hits, self.positive)

    def specificity(self) -> Float64Array:
        return safe_divide(self.rejections, self.negative)

    def f1(self) -> Float64Array:
        return safe_divide(2 * self.hits, self.positive + self.predicted)

    def mcc(self) -> Float64Array:
        positive, predicted, hits = (
            np.stack(pair, axis=-1)
            for pair in (
                (self.positive, self.negative),
                (self.predicted, self.total - self.predicted),
                (self.hits, self.rejections),
            )
        )
        return matthews_corrcoef(positive, predicted, hits)

    def pooled(self) -> Confusion:
        """Return the sums over the last axis."""
        return Confusion(
            *(
                part.sum(axis=-1)
                for part in (self.positive, self.negative, self.predicted, self.hits)
            )
        )


def confused_pairs(matrix: Float64Array) -> list[tuple[int, int]]:
    """Return the (actual, predicted) pairs of different classes with rows, most frequent first.

    Args:
        matrix: (classes, classes) weight of the rows by actual and predicted class.
    """
    errors = matrix.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")
    return [divmod(int(index), len(errors)) for index in order[: np.count_nonzero(errors)]]


def safe_divide(numerator: Float64Array, denominator: Float64Array) -> Float64Array:
    """Divide elementwise; 0 where the denominator is 0."""
    out = np.zeros_like(numerator)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def matthews_corrcoef(
    positive: Float64Array, predicted: Float64Array, hits: Float64Array
) -> Float64Array:
    """Compute Gorodkin's R_K (2004), for two classes Matthews' coefficient; 0 if y or p is constant.

    Args:
        positive: (…, k) weight of the rows of each class.
        predicted: (…, k) weight of the rows predicted to be of it.
        hits: (…, k) weight of the rows that are both.
    """
    total = positive.sum(axis=-1)
    covariance = hits.sum(axis=-1) * total - (positive * predicted).sum(axis=-1)
    predicted_variance = total**2 - (predicted**2).sum(axis=-1)
    actual_variance = total**2 - (positive**2).sum(axis=-1)
    # Rounding errors of constant targets or predictions are not variance.
    varies = np.minimum(predicted_variance, actual_variance) > 1e-14 * total**2
    product = np.where(varies, predicted_variance * actual_variance, 1.0)
    return np.where(varies, covariance / np.sqrt(product), 0.0)
