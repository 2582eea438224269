"""Dropout and Gaussian noise with a random generator that is fast under XLA.

Keras uses TensorFlow's `auto_select` generator, which takes a millisecond per step under XLA on a CPU;
even Threefry takes as long as the matrix products of a small network. Here a value is a hash of its
position and of a key: integer arithmetic that XLA merges with the layer's own loop. The key is the state
of the layer's seed generator, which counts earlier draws, so that values depend on (seed, layer, step).

These layers are for training only. A network that is saved has Keras's own layers instead.
"""

from __future__ import annotations

from math import pi
from typing import Any

import keras
import tensorflow as tf


class CompiledDropout(keras.layers.Dropout):  # type: ignore[misc]
    """Dropout: sets inputs to 0 with probability `rate` and scales the others by 1 / (1 - rate)."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        draw = _uniform(tf.shape(inputs), self.seed_generator.next())
        return tf.where(draw >= self.rate, inputs / (1 - self.rate), tf.zeros_like(inputs))


class CompiledGaussianNoise(keras.layers.GaussianNoise):  # type: ignore[misc]
    """Adds normal noise with standard deviation `stddev`."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.stddev == 0:
            return inputs
        draw = _normal(tf.shape(inputs), self.seed_generator.next())
        return inputs + tf.cast(self.stddev * draw, inputs.dtype)


def stacked_uniform(shape: tuple[int, ...], seeds: Any) -> Any:
    """Return the (members, …) float32 values that `CompiledDropout` draws for each member's seed.

    The first rows of a larger draw are those of a smaller one.

    Args:
        shape: Shape of one member's draw.
        seeds: (members, 2) states of the members' seed generators.
    """
    return _uniform(shape, seeds)


def stacked_normal(shape: tuple[int, ...], seeds: Any) -> Any:
    """Return the (members, …) float32 values that `CompiledGaussianNoise` draws for each seed."""
    return _normal(shape, seeds)


def _uniform(shape: Any, seeds: Any, stream: int = 0) -> Any:
    """Return float32 values in [0, 1), multiples of 2⁻²⁴, of shape (*seeds.shape[:-1], *shape)."""
    bits = tf.bitwise.right_shift(_random_bits(shape, seeds, stream), _uint32(8))
    # XLA on a CPU vectorizes the conversion of signed integers only.
    return tf.cast(tf.bitcast(bits, tf.int32), tf.float32) * 2.0**-24


def _normal(shape: Any, seeds: Any) -> Any:
    """Return standard normal float32 values, by the transform of Box and Muller (1958)."""
    # 1 - u is never 0.
    radius = tf.sqrt(-2.0 * tf.math.log(1.0 - _uniform(shape, seeds)))
    return radius * tf.cos(2 * pi * _uniform(shape, seeds, stream=1))


def _random_bits(shape: Any, seeds: Any, stream: int) -> Any:
    """Return 32 bits for each position: a permutation of all integers that two keys select.

    A single key would only shift the positions. The second one depends on everything that
    distinguishes draws: the seed, their number, and `stream` (0 or 1) within a draw.
    """
    words = tf.cast(seeds, tf.uint32)
    seed, count = words[..., 0], words[..., 1]
    first = permute_bits(seed)
    second = permute_bits(
        permute_bits(seed ^ _uint32(0x9E3779B9)) + count * _uint32(2) + _uint32(stream)
    )
    axes = (1,) * len(shape) if isinstance(shape, tuple) else tf.ones_like(shape)
    first, second = (
        tf.reshape(key, tf.concat([tf.shape(key), axes], axis=0)) for key in (first, second)
    )
    positions = tf.cast(tf.reshape(tf.range(tf.reduce_prod(shape)), shape), tf.uint32)
    return permute_bits(permute_bits(positions + first) ^ second)


def permute_bits(x: Any) -> Any:
    """Permute 32-bit integers by `lowbias32` (C. Wellons, "Prospecting for hash functions", 2018)."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ tf.bitwise.right_shift(x, _uint32(shift))) * _uint32(factor)
    return x ^ tf.bitwise.right_shift(x, _uint32(16))


def _uint32(value: int) -> Any:
    return tf.constant(value, tf.uint32)
