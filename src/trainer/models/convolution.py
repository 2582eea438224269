"""Convolutions as matrix products, for training under XLA on a CPU.

Within a loop, XLA on a CPU takes 14 times as long for a convolution as TensorFlow's own kernel. With the
product of all windows of the input, side by side, and the kernel as a matrix, a step of networks with
two and three convolutions of 28 × 28 images takes 1 to 1.4 times as long. On a GPU, XLA calls cuDNN.

These layers are for training only. A network that is saved has Keras's own layers instead.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import keras
import tensorflow as tf


class CompiledConv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """Convolution of an image."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        if tf.config.get_visible_devices("GPU"):
            return super().convolution_op(inputs, kernel)
        matrix = keras.ops.convert_to_tensor(kernel)
        matrix = tf.reshape(matrix, (-1, matrix.shape[-1]))
        columns = patches(self, inputs)
        outputs = tf.matmul(tf.reshape(columns, (-1, columns.shape[-1])), matrix)
        return tf.reshape(outputs, (-1, *columns.shape[1:-1], matrix.shape[-1]))


def patches(layer: keras.layers.Conv2D, inputs: Any) -> Any:
    """Return the windows of a convolution, (n, rows, columns, height · width · channels).

    The values of a window are in the order of the kernel's first three axes.

    Args:
        layer: Its kernel size, strides, dilation rate and padding are used.
        inputs: (n, height, width, channels); all sizes but n are known.
    """
    sizes = tuple(inputs.shape[1:3])
    window, strides, dilation = layer.kernel_size, layer.strides, layer.dilation_rate
    extents = [step * (size - 1) + 1 for size, step in zip(window, dilation, strict=True)]
    if layer.padding == "same":
        outputs = [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
        missing = [
            max((count - 1) * stride + extent - size, 0)
            for count, stride, extent, size in zip(outputs, strides, extents, sizes, strict=True)
        ]
        around = [(count // 2, count - count // 2) for count in missing]
        inputs = tf.pad(inputs, [(0, 0), *around, (0, 0)])
    else:
        outputs = [
            (size - extent) // stride + 1
            for size, extent, stride in zip(sizes, extents, strides, strict=True)
        ]
    parts = []
    for position in product(*map(range, window)):
        starts = [index * step for index, step in zip(position, dilation, strict=True)]
        ends = [
            start + (count - 1) * stride + 1
            for start, count, stride in zip(starts, outputs, strides, strict=True)
        ]
        parts.append(inputs[(slice(None), *map(slice, starts, ends, strides))])
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=-1)
