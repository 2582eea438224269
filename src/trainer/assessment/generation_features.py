"""The features in which generated rows or images are compared with real ones.

    images with classes      the last hidden layer of a small classifier of the training rows
    images without           principal components of the pixels of the training rows
    rows                     scores of numbers, and one-hot categories divided by √2: levels are 1 apart

All are deterministic functions of the training rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.arrays import Float32Array, Float64Array, RowIndex
from trainer.data.generated_columns import GeneratedRows, one_hot
from trainer.inputs import InputArray

_UNITS = 64
_EPOCHS, _BATCH, _RATE, _DECAY = 12, 64, 2e-3, 1e-4
_MIN_STEPS = 400
_COMPONENTS = 32
_FITTED_ROWS = 5_000
_POOLED = 1_024
_SEED = 7


@dataclass(frozen=True)
class ImageClassifier:
    """A network with one hidden layer, trained on the training images by NumPy.

    Attributes:
        kernels: Of the hidden layer and of the output layer.
        biases: Of both.
        accuracy: The share of its training images that it classifies correctly.
    """

    kernels: tuple[Float32Array, Float32Array]
    biases: tuple[Float32Array, Float32Array]
    accuracy: float

    def features(self, images: InputArray) -> Float64Array:
        """Return the values of the hidden layer, (images, 64)."""
        hidden = flat(images) @ self.kernels[0] + self.biases[0]
        return np.asarray(np.maximum(hidden, 0.0), np.float64)

    def classes(self, images: InputArray) -> RowIndex:
        """Return the most likely class of each image."""
        scores = self.features(images) @ self.kernels[1] + self.biases[1]
        return np.asarray(scores.argmax(axis=1), np.int64)


@dataclass(frozen=True)
class PixelComponents:
    """Principal components of the pixels.

    Attributes:
        mean: Mean of the training images.
        components: (values, components).
    """

    mean: Float32Array
    components: Float32Array

    def features(self, images: InputArray) -> Float64Array:
        """Return the components, (images, components)."""
        return ((flat(images) - self.mean) @ self.components).astype(np.float64)

    def classes(self, images: InputArray) -> None:
        """Return None: there are no classes."""


def flat(images: InputArray) -> Float32Array:
    """Return images as (images, values) from -1 to 1, averaged to at most 1,024 pixels."""
    pixels: NDArray[Any] = np.asarray(images[np.arange(len(images))])
    count, height, width, channels = pixels.shape
    step = 1
    while (height // step) * (width // step) > _POOLED:
        step += 1
    if step > 1:
        rows, columns = height // step, width // step
        cut = pixels[:, : rows * step, : columns * step]
        blocks = cut.reshape(count, rows, step, columns, step, channels)
        pixels = blocks.mean(axis=(2, 4), dtype=np.float32)
    scaled = pixels.reshape(count, -1).astype(np.float32) / np.float32(127.5) - np.float32(1)
    return np.asarray(scaled, np.float32)


def fit_image_features(images: InputArray, y: Float32Array) -> ImageClassifier | PixelComponents:
    """Fit the features on training images.

    Args:
        images: The images.
        y: (images, classes) one-hot; (images, 0) without classes.
    """
    generator = np.random.Generator(np.random.Philox(key=_SEED))
    rows = np.sort(generator.permutation(len(images))[:_FITTED_ROWS])
    x = flat(images[rows])
    if y.shape[1]:
        return _fit_classifier(x, y[rows], generator)
    mean = x.mean(axis=0)
    _, _, directions = np.linalg.svd(x - mean, full_matrices=False)
    components = directions[:_COMPONENTS].T
    return PixelComponents(mean, np.ascontiguousarray(components))


def _fit_classifier(
    x: Float32Array, y: Float32Array, generator: np.random.Generator
) -> ImageClassifier:
    """Fit by Adam with decoupled weight decay and a learning rate that falls to 0."""
    sizes = (x.shape[1], _UNITS, y.shape[1])
    weights = [
        generator.normal(0.0, np.sqrt(2 / first), (first, second)).astype(np.float32)
        for first, second in pairwise(sizes)
    ] + [np.zeros(size, np.float32) for size in sizes[1:]]
    first_moments = [np.zeros_like(weight) for weight in weights]
    second_moments = [np.zeros_like(weight) for weight in weights]
    batches, step = -(-len(x) // _BATCH), 0
    epochs = max(_EPOCHS, -(-_MIN_STEPS // batches))
    steps = epochs * batches
    for _ in range(epochs):
        order = generator.permutation(len(x))
        for start in range(0, len(x), _BATCH):
            rows = order[start : start + _BATCH]
            gradients = _gradients(weights, x[rows], y[rows])
            step += 1
            rate = _RATE * (1 - (step - 1) / steps)
            for index, gradient in enumerate(gradients):
                first_moments[index] += 0.1 * (gradient - first_moments[index])
                second_moments[index] += 0.001 * (np.square(gradient) - second_moments[index])
                mean = first_moments[index] / (1 - 0.9**step)
                scale = np.sqrt(second_moments[index] / (1 - 0.999**step)) + 1e-7
                weights[index] -= np.float32(rate) * (mean / scale + _DECAY * weights[index])
    first, second, *biases = (np.asarray(weight, np.float32) for weight in weights)
    fitted = ImageClassifier((first, second), (biases[0], biases[1]), 0.0)
    hidden = np.maximum(x @ first + biases[0], 0)
    correct = (hidden @ second + biases[1]).argmax(axis=1) == y.argmax(axis=1)
    return ImageClassifier(fitted.kernels, fitted.biases, float(correct.mean()))


def _gradients(weights: list[Float32Array], x: Float32Array, y: Float32Array) -> list[Float32Array]:
    """Return the gradients of the cross-entropy."""
    first, second, first_bias, second_bias = weights
    hidden = np.maximum(x @ first + first_bias, 0)
    scores = hidden @ second + second_bias
    scores -= scores.max(axis=1, keepdims=True)
    probabilities = np.exp(scores)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    error = (probabilities - y) / np.float32(len(x))
    inner = (error @ second.T) * (hidden > 0)
    return [x.T @ inner, hidden.T @ error, inner.sum(axis=0), error.sum(axis=0)]


@dataclass(frozen=True)
class RowFeatures:
    """The encoded columns of rows: all columns have about the same weight.

    Attributes:
        rows: The encoding.
    """

    rows: GeneratedRows

    def features(self, frame: pl.DataFrame) -> Float64Array:
        """Return (rows, encoded columns)."""
        encoded = self.rows.encode(frame).astype(np.float64)
        for start, size in self.rows.blocks:
            encoded[:, start : start + size] /= np.sqrt(2)
        return encoded


def classifier_probabilities(
    x: Float32Array, codes: RowIndex, classes: int, others: Float32Array
) -> Float64Array:
    """Return the probabilities (others, classes) of a network with one hidden layer.

    Args:
        x: (n, values), what it is fitted on.
        codes: (n,) the classes.
        classes: Number of classes.
        others: (m, values), what it predicts.
    """
    generator = np.random.Generator(np.random.Philox(key=_SEED))
    fitted = _fit_classifier(x, one_hot(codes, classes), generator)
    hidden = np.maximum(others @ fitted.kernels[0] + fitted.biases[0], 0.0)
    scores = (hidden @ fitted.kernels[1] + fitted.biases[1]).astype(np.float64)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
