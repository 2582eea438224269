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
    match name:
        case "glorot_normal":
            return keras.initializers.GlorotNormal(seed=seed)
        case "glorot_uniform":
            return keras.initializers.GlorotUniform(seed=seed)
        case "he_normal":
            return keras.initializers.HeNormal(seed=seed)
        case "he_uniform":
            return keras.initializers.HeUniform(seed=seed)
        case "identity":
            return keras.initializers.Identity()
        case "lecun_normal":
            return keras.initializers.LecunNormal(seed=seed)
        case "lecun_uniform":
            return keras.initializers.LecunUniform(seed=seed)
        case "ones":
            return keras.initializers.Ones()
        case "orthogonal":
            return keras.initializers.Orthogonal(seed=seed)
        case "random_normal":
            return keras.initializers.RandomNormal(seed=seed)
        case "random_uniform":
            return keras.initializers.RandomUniform(seed=seed)
        case "truncated_normal":
            return keras.initializers.TruncatedNormal(seed=seed)
        case "zeros":
            return keras.initializers.Zeros()
        case _:
            assert_never(name)
