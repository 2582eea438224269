"""Max pooling under XLA equals Keras's, gradient included."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.models.pooling import CompiledMaxPooling1D, CompiledMaxPooling2D


def pooled_and_gradient(layer: Any, inputs: Any, weights: Any) -> tuple[Any, Any]:
    x = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x)
        # Equal weights would not show which of several equal values gets the gradient of a window.
        loss = tf.reduce_sum(output * weights[tuple(map(slice, output.shape))])
    return output.numpy(), tape.gradient(loss, x).numpy()


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("pool_size", "strides"), [(2, None), (3, 2), ((2, 3), (3, 1)), (2, 3), (5, 5)]
)
def test_images(pool_size: Any, strides: Any, padding: str) -> None:
    rng = np.random.default_rng(1)
    # Few different values, so that many windows have several maxima; all negative, so that padding
    # with zeros would show.
    inputs = -rng.integers(1, 4, (3, 7, 8, 2)).astype(np.float32)
    weights = rng.normal(size=inputs.shape).astype(np.float32)
    expected, ours = (
        pooled_and_gradient(kind(pool_size, strides=strides, padding=padding), inputs, weights)
        for kind in (keras.layers.MaxPooling2D, CompiledMaxPooling2D)
    )
    np.testing.assert_array_equal(ours[0], expected[0])
    np.testing.assert_allclose(ours[1], expected[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_sequences(padding: str) -> None:
    rng = np.random.default_rng(2)
    inputs = rng.integers(0, 5, (4, 11, 3)).astype(np.float32)
    weights = rng.normal(size=inputs.shape).astype(np.float32)
    expected, ours = (
        pooled_and_gradient(kind(3, strides=2, padding=padding), inputs, weights)
        for kind in (keras.layers.MaxPooling1D, CompiledMaxPooling1D)
    )
    np.testing.assert_array_equal(ours[0], expected[0])
    np.testing.assert_allclose(ours[1], expected[1], rtol=0, atol=1e-6)
