"""Measures of generated rows or images, compared with real ones in a space of features.

Fréchet distance: Heusel et al., GANs trained by a two time-scale update rule, 2017, with other features
than those of Inception. Precision and recall: Kynkäänniemi et al., Improved precision and recall metric
for assessing generative models, 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.data.arrays import Float64Array, RowIndex

NEIGHBORS = 3
"""k of precision and recall, as in the paper."""
_MODE_SHARE = 0.25
_BLOCK = 512

COLLAPSED_DIVERSITY = 0.3
"""Diversity below which samples are so similar that the generator has collapsed."""
COLLAPSED_MODES = 0.5
"""Fraction of classes below which it has."""
SEPARATED_ACCURACY = 0.98
"""Accuracy from which the discriminator recognizes nearly all samples."""
_LAST_EPOCHS = 3
_MIN_EPOCHS = 10
"""Before, samples differ little because the generator has learned little."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Real rows in a space of features.

    Attributes:
        features: (rows, features).
        class_shares: Share of the rows in each class; empty without classes.
    """

    features: Float64Array
    class_shares: Float64Array


def measure(
    reference: Reference, features: Float64Array, classes: RowIndex | None
) -> dict[str, float]:
    """Return all measures of samples.

    Args:
        reference: The real rows.
        features: (samples, features) of the samples.
        classes: The class of each sample; None without classes.
    """
    real = reference.features
    precision, recall = precision_and_recall(real, features)
    measures = {
        "frechet_distance": frechet_distance(real, features),
        "sample_precision": precision,
        "sample_recall": recall,
        "diversity": mean_distance(features) / max(mean_distance(real), 1e-12),
    }
    if classes is not None and len(reference.class_shares):
        measures["modes"] = share_of_modes(reference.class_shares, classes)
    return measures


def frechet_distance(first: Float64Array, second: Float64Array) -> float:
    """Return ‖μ₁ - μ₂‖² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½) of two sets of points, (n, d) and (m, d).

    The trace of the square root is the sum of the square roots of the eigenvalues of the symmetric
    Σ₁^½ Σ₂ Σ₁^½.
    """
    means = first.mean(axis=0), second.mean(axis=0)
    covariances = _covariance(first), _covariance(second)
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    product = root @ covariances[1] @ root
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh((product + product.T) / 2), 0.0))
    total = np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * roots.sum()
    difference = means[0] - means[1]
    return float(max(difference @ difference + total, 0.0))


def precision_and_recall(real: Float64Array, samples: Float64Array) -> tuple[float, float]:
    """Return the share of samples within the k-nearest-neighbor ball of a real row, and the share of
    real rows within that of a sample.
    """
    neighbors = min(NEIGHBORS, len(real) - 1, len(samples) - 1)
    if neighbors < 1:
        return float("nan"), float("nan")
    real_radius, sample_radius = (
        neighbor_distances(points, points, neighbors, is_same=True) for points in (real, samples)
    )
    return _covered(samples, real, real_radius), _covered(real, samples, sample_radius)


def neighbor_distances(
    points: Float64Array, others: Float64Array, neighbor: int, *, is_same: bool = False
) -> Float64Array:
    """Return the squared distance of each point to its k-th nearest other, (points,).

    Args:
        points: (n, d).
        others: (m, d).
        neighbor: k, from 1.
        is_same: Whether both are the same points, none of which is its own neighbor.
    """
    parts = []
    for start in range(0, len(points), _BLOCK):
        distances = _squared_distances(points[start : start + _BLOCK], others)
        if is_same:
            rows = np.arange(len(distances))
            distances[rows, start + rows] = np.inf
        parts.append(np.partition(distances, neighbor - 1, axis=1)[:, neighbor - 1])
    return np.concatenate(parts)


def mean_distance(points: Float64Array) -> float:
    """Return the root mean square distance between two different points."""
    if len(points) < 2:
        return 0.0
    return float(np.sqrt(2 * points.var(axis=0, ddof=1).sum()))


def share_of_modes(shares: Float64Array, classes: RowIndex) -> float:
    """Return the share of classes that have at least a quarter of their share of the real rows.

    Args:
        shares: Share of the real rows in each class.
        classes: The class of each sample.
    """
    found = np.bincount(classes[classes >= 0], minlength=len(shares)) / max(len(classes), 1)
    present = shares > 0
    return float((found[present] >= _MODE_SHARE * shares[present]).mean())


def failures(history: list[dict[str, float]]) -> list[str]:
    """Return what went wrong in the last epochs, as text: collapse, or a discriminator that wins.

    Args:
        history: The metrics of each epoch.
    """
    if len(history) < _MIN_EPOCHS:
        return []
    last = history[-_LAST_EPOCHS:]
    found = []
    if all(epoch["diversity"] < COLLAPSED_DIVERSITY for epoch in last):
        found.append(
            "mode collapse: in the last epochs, samples differ from each other "
            f"{last[-1]['diversity']:.2f} times as much as rows do; try a lower learning rate of the "
            "discriminator, generation.instance_noise: 0.1, or generation.loss: wasserstein"
        )
    elif all(epoch.get("modes", 1.0) < COLLAPSED_MODES for epoch in last):
        found.append(
            f"mode collapse: samples of the last epochs are of {100 * last[-1]['modes']:.0f}% of the "
            "classes; try generation.condition: true, or generation.loss: wasserstein"
        )
    if all(epoch["discriminator_accuracy"] > SEPARATED_ACCURACY for epoch in last):
        found.append(
            "the discriminator recognizes nearly all samples "
            f"(accuracy {last[-1]['discriminator_accuracy']:.3f}), so that the generator learns little: "
            "make it smaller, or try generation.instance_noise: 0.1 or label_smoothing: 0.1"
        )
    return found


def _covered(points: Float64Array, centers: Float64Array, radius: Float64Array) -> float:
    """Return the share of points within the ball of a center; `radius` is squared."""
    inside = 0
    for start in range(0, len(points), _BLOCK):
        distances = _squared_distances(points[start : start + _BLOCK], centers)
        inside += int((distances <= radius).any(axis=1).sum())
    return inside / len(points)


def _squared_distances(first: Float64Array, second: Float64Array) -> Float64Array:
    squares = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)
    return np.asarray(np.maximum(squares - 2 * first @ second.T, 0.0))


def _covariance(points: Float64Array) -> Float64Array:
    return np.asarray(np.atleast_2d(np.cov(points, rowvar=False)))
