"""Max pooling with a deterministic gradient under XLA.

TensorFlow has no deterministic gradient of max pooling under XLA on a GPU, and refuses to compile it
when op determinism is enabled. Here the maximum is taken over strided slices of the input, one for each
position in the window, so that the gradient consists of comparisons and additions in a fixed order. Of
equal values, the first gets the gradient, as in TensorFlow's own kernel on a CPU.

These layers are for training only. A network that is saved has Keras's own layers instead.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import keras
import tensorflow as tf


class CompiledMaxPooling1D(keras.layers.MaxPooling1D):  # type: ignore[misc]
    """Maximum of each channel within a window of a sequence."""

    def call(self, inputs: Any) -> Any:
        return _max_pool(inputs, self.pool_size, self.strides, self.padding)


class CompiledMaxPooling2D(keras.layers.MaxPooling2D):  # type: ignore[misc]
    """Maximum of each channel within a window of an image."""

    def call(self, inputs: Any) -> Any:
        return _max_pool(inputs, self.pool_size, self.strides, self.padding)


def _max_pool(inputs: Any, window: tuple[int, ...], strides: tuple[int, ...], padding: str) -> Any:
    """Return the maxima of (n, …, channels) inputs, whose sizes are known except for n."""
    sizes = inputs.shape[1:-1]
    if padding == "same":
        outputs = [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
        missing = [
            max((output - 1) * stride + width - size, 0)
            for output, stride, width, size in zip(outputs, strides, window, sizes, strict=True)
        ]
        around = [(count // 2, count - count // 2) for count in missing]
        inputs = tf.pad(inputs, [(0, 0), *around, (0, 0)], constant_values=inputs.dtype.min)
    else:
        outputs = [
            (size - width) // stride + 1
            for size, width, stride in zip(sizes, window, strides, strict=True)
        ]
    maximum = None
    for position in product(*map(range, window)):
        ends = [
            start + (output - 1) * stride + 1
            for start, output, stride in zip(position, outputs, strides, strict=True)
        ]
        part = inputs[(slice(None), *map(slice, position, ends, strides))]
        maximum = part if maximum is None else tf.maximum(maximum, part)
    return maximum
