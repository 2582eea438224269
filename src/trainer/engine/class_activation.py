"""Class activation maps: Grad-CAM (Selvaraju et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.data.arrays import Float32Array
from trainer.engine.batches import input_tensors
from trainer.inputs import Inputs, count_rows
from trainer.metrics.arrays import IntArray
from trainer.models.summary import IMAGE_SCALING

_ROWS = 16
_SKIPPED = (
    keras.layers.InputLayer,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianNoise,
)
"""Layers whose outputs are those of the layer before them, or coarser."""


def class_activation_maps(
    network: keras.Model, inputs: Inputs, units: IntArray, signs: IntArray
) -> Float32Array | None:
    """Return where an image contains what an output depends on, (n, rows, columns), 0 or more.

    The feature maps of the last convolution, after its normalization and activation, are weighted by
    the mean gradient of the output before its activation, and summed.

    Args:
        network: Its last layer is dense.
        inputs: The inputs of n rows.
        units: (n,) the unit of the output layer of each row.
        signs: (n,) 1 for a score that rises with the output, -1 for one that falls.

    Returns:
        The maps, as large as the feature maps; None for a network without them.
    """
    layer = _last_maps(network)
    if layer is None:
        return None
    parts = []
    for first in range(0, count_rows(inputs), _ROWS):
        part = slice(first, first + _ROWS)
        with tf.GradientTape() as tape, _recorded(layer, tape) as outputs, _linear(network):
            logits = tf.cast(network(input_tensors(inputs, part), training=False), tf.float32)
            chosen = tf.gather(logits, units[part], axis=1, batch_dims=1)
            score = tf.reduce_sum(chosen * signs[part].astype(np.float32))
        (maps,) = outputs
        gradients = tape.gradient(score, maps, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        weights = tf.reduce_mean(tf.cast(gradients, tf.float32), axis=(1, 2), keepdims=True)
        parts.append(np.asarray(tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), 3))))
    return np.concatenate(parts)


def _last_maps(network: keras.Model) -> keras.layers.Layer | None:
    """Return the layer with the last feature maps (height, width, channels); None if it is the image."""
    layers = [
        layer
        for layer in _layers(network)
        if not isinstance(layer, _SKIPPED) and len(getattr(layer.output, "shape", ())) == 4
    ]
    return layers[-1] if layers and layers[-1].name != IMAGE_SCALING else None


def _layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a network, and those of a network inside it whose output has no maps."""
    for layer in network.layers:
        if isinstance(layer, keras.Model) and len(layer.output_shape) == 2:
            yield from _layers(layer)
        else:
            yield layer


@contextmanager
def _recorded(layer: keras.layers.Layer, tape: tf.GradientTape) -> Iterator[list[Any]]:
    """Watch the outputs of a layer, also of one with frozen weights, and collect them."""
    outputs: list[Any] = []
    call = layer.call

    def recording(*arguments: Any, **named: Any) -> Any:
        output = call(*arguments, **named)
        tape.watch(output)
        outputs.append(output)
        return output

    layer.call = recording
    try:
        yield outputs
    finally:
        del layer.call


@contextmanager
def _linear(network: keras.Model) -> Iterator[None]:
    """Remove the activation of the output layer: its gradient vanishes where the network is certain."""
    head = network.layers[-1]
    activation = head.activation
    head.activation = keras.activations.linear
    try:
        yield
    finally:
        head.activation = activation
