"""A convolution as a matrix product equals Keras's, gradients included."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.models.compiled_layers import has_compiled_layer
from trainer.models.convolution import CompiledConv2D


def outputs_and_gradients(layer: Any, inputs: Any, weights: Any) -> list[Any]:
    x = tf.constant(inputs)
    layer.build(inputs.shape)
    values = np.random.default_rng(2)
    for variable in layer.trainable_variables:
        variable.assign(values.normal(size=variable.shape))
    variables = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = layer(x)
        loss = tf.reduce_sum(output * weights[tuple(map(slice, output.shape))])
    return [output, *tape.gradient(loss, [x, *variables])]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3},
        {"kernel_size": 1, "use_bias": False},
        {"kernel_size": (2, 5), "strides": (3, 2), "activation": "tanh"},
        {"kernel_size": (3, 2), "dilation_rate": (2, 3)},
        {"kernel_size": 7, "strides": 2},
    ],
    ids=str,
)
def test_it_equals_keras(settings: dict[str, Any], padding: str) -> None:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(3, 8, 9, 2)).astype(np.float32)
    weights = rng.normal(size=(3, 8, 9, 4)).astype(np.float32)
    expected, ours = (
        outputs_and_gradients(kind(4, padding=padding, **settings), inputs, weights)
        for kind in (keras.layers.Conv2D, CompiledConv2D)
    )
    for value, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-4)


def test_it_is_replaced_when_the_network_is_saved() -> None:
    assert has_compiled_layer(CompiledConv2D(2, 3))
    assert not has_compiled_layer(keras.layers.Conv2D(2, 3))
