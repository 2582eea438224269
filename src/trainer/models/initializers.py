"""Keras initializers for the initializer settings of the config, each with its own seed."""

from __future__ import annotations

from typing import assert_never

import keras

from trainer.config.weights import (
    Constant,
    Initializer,
    InitializerName,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaled,
)


def build_initializer(initializer: Initializer, seed: int) -> keras.initializers.Initializer:
    """Return the Keras initializer; random initializers use `seed`."""
    match initializer:
        case str():
            return _named(initializer, seed)
        case RandomNormal(random_normal=normal):
            return keras.initializers.RandomNormal(normal.mean, normal.stddev, seed=seed)
        case TruncatedNormal(truncated_normal=normal):
            return keras.initializers.TruncatedNormal(normal.mean, normal.stddev, seed=seed)
        case RandomUniform(random_uniform=uniform):
            return keras.initializers.RandomUniform(uniform.low, uniform.high, seed=seed)
        case Constant(constant=value):
            return keras.initializers.Constant(value)
        case Orthogonal(orthogonal=gain):
            return keras.initializers.Orthogonal(gain, seed=seed)
        case VarianceScaled(variance_scaling=scaling):
            return keras.initializers.VarianceScaling(
                scale=scaling.scale,
                mode=scaling.mode,
                distribution="untruncated_normal"
                if scaling.distribution == "normal"
                else scaling.distribution,
                seed=seed,
            )
        case _:
            assert_never(initializer)


def _named(name: InitializerName, seed: int) -> keras.initializers.Initializer:
    make = getattr(keras.initializers, "".join(part.capitalize() for part in name.split("_")))
    return make() if name in ("identity", "ones", "zeros") else make(seed=seed)
