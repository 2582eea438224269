"""Dropout and Gaussian noise with a random generator that is fast under XLA.

Keras uses TensorFlow's `auto_select` generator, which takes a millisecond per step under XLA on a CPU;
Threefry takes microseconds. The values depend on the layer's seed and the number of earlier draws, which
its seed generator counts, and thus on (seed, layer, step).

These layers are for training only. A network that is saved has Keras's own layers instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# TensorFlow's name for the counter-based generator of Salmon et al., "Parallel random numbers: as easy
# as 1, 2, 3" (2011); available only under XLA.
_GENERATOR = "threefry"


class CompiledDropout(keras.layers.Dropout):  # type: ignore[misc]
    """Dropout: sets inputs to 0 with probability `rate` and scales the others by 1 / (1 - rate)."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        draw = tf.random.stateless_uniform(
            tf.shape(inputs), seed=tf.cast(self.seed_generator.next(), tf.int64), alg=_GENERATOR
        )
        return tf.where(draw >= self.rate, inputs / (1 - self.rate), tf.zeros_like(inputs))


class CompiledGaussianNoise(keras.layers.GaussianNoise):  # type: ignore[misc]
    """Adds normal noise with standard deviation `stddev`."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.stddev == 0:
            return inputs
        draw = tf.random.stateless_normal(
            tf.shape(inputs), seed=tf.cast(self.seed_generator.next(), tf.int64), alg=_GENERATOR
        )
        return inputs + tf.cast(self.stddev * draw, inputs.dtype)


COMPILED_LAYERS = {
    keras.layers.Dropout: CompiledDropout,
    keras.layers.GaussianNoise: CompiledGaussianNoise,
}
"""Keras layers → layers that replace them in training under XLA."""


def stacked_uniform(shape: tuple[int, ...], seeds: Any, rows: Sequence[int] = ()) -> Any:
    """Return the (members, …) float32 values that `CompiledDropout` draws for each member's seed.

    Args:
        shape: Shape of the values of one member.
        seeds: (members, 2) states of the members' seed generators.
        rows: Number of rows that each member draws, zeros follow; empty for all of `shape`.
    """
    return _drawn(tf.random.stateless_uniform, shape, seeds, rows)


def stacked_normal(shape: tuple[int, ...], seeds: Any, rows: Sequence[int] = ()) -> Any:
    """Return the (members, …) float32 values that `CompiledGaussianNoise` draws for each seed."""
    return _drawn(tf.random.stateless_normal, shape, seeds, rows)


def _drawn(draw: Any, shape: tuple[int, ...], seeds: Any, rows: Sequence[int]) -> Any:
    if not rows:
        return _stacked(draw, shape, seeds)
    # The values depend on the number of values: each number of rows is drawn separately.
    parts = []
    members: list[int] = []
    for count in sorted(set(rows)):
        drawing = [number for number, member_rows in enumerate(rows) if member_rows == count]
        values = _stacked(draw, (count, *shape[1:]), tf.gather(seeds, drawing))
        padding = [(0, 0), (0, shape[0] - count), *[(0, 0)] * (len(shape) - 1)]
        parts.append(tf.pad(values, padding))
        members += drawing
    return tf.gather(tf.concat(parts, axis=0), np.argsort(members))


def _stacked(draw: Any, shape: tuple[int, ...], seeds: Any) -> Any:
    # A loop in the graph: unrolled, the draws of many members would dominate the compilation.
    return tf.map_fn(
        lambda seed: draw(shape, seed=seed, alg=_GENERATOR),
        tf.cast(seeds, tf.int64),
        fn_output_signature=tf.TensorSpec(shape, tf.float32),
    )
