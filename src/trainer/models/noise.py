"""Dropout and noise for compiled programs: Keras's layers with a generator that XLA compiles well.

Keras draws with TensorFlow's `auto_select` generator, which XLA on a CPU takes a millisecond for in each
step; Threefry takes microseconds. What is drawn is a function of the layer's seed and of how often it
drew before, which its seed generator counts: so of (seed, layer, step).

These layers are for training alone. A network that is to be saved has Keras's own in their place.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

# TensorFlow's name for the counter-based generator of Salmon et al., "Parallel random numbers: as easy
# as 1, 2, 3" (2011); outside XLA its kernels do not know it.
_GENERATOR = "threefry"


class CompiledDropout(keras.layers.Dropout):  # type: ignore[misc]
    """Dropout: inputs are 0 with probability `rate`, the others are scaled by 1 / (1 - rate)."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Inputs of any shape; as they are outside training."""
        if not training or self.rate == 0:
            return inputs
        draw = tf.random.stateless_uniform(
            tf.shape(inputs), seed=tf.cast(self.seed_generator.next(), tf.int64), alg=_GENERATOR
        )
        return tf.where(draw >= self.rate, inputs / (1 - self.rate), tf.zeros_like(inputs))


class CompiledGaussianNoise(keras.layers.GaussianNoise):  # type: ignore[misc]
    """Adds normal noise of deviation `stddev`."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Inputs of any shape; as they are outside training."""
        if not training or self.stddev == 0:
            return inputs
        draw = tf.random.stateless_normal(
            tf.shape(inputs), seed=tf.cast(self.seed_generator.next(), tf.int64), alg=_GENERATOR
        )
        return inputs + tf.cast(self.stddev * draw, inputs.dtype)


def stacked_uniform(shape: tuple[int, ...], seeds: Any) -> Any:
    """(members, …) float32: for each member what `CompiledDropout` draws with its seed.

    Args:
        shape: Of one member's draw.
        seeds: (members, 2), the states of the members' seed generators.
    """
    return _each(tf.random.stateless_uniform, shape, seeds)


def stacked_normal(shape: tuple[int, ...], seeds: Any) -> Any:
    """As `stacked_uniform`, for `CompiledGaussianNoise`."""
    return _each(tf.random.stateless_normal, shape, seeds)


def _each(draw: Any, shape: tuple[int, ...], seeds: Any) -> Any:
    # A loop in the program: side by side, the draws of many members would be most of what is compiled.
    return tf.map_fn(
        lambda seed: draw(shape, seed=seed, alg=_GENERATOR),
        tf.cast(seeds, tf.int64),
        fn_output_signature=tf.TensorSpec(shape, tf.float32),
    )
