"""Keras layers for the hidden layers of the config, and the embedding block.

The output layer is in `trainer.models.network`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

import keras

from trainer.config.layers import (
    ActivationLayer,
    AnyLayer,
    BatchNormalizationLayer,
    Custom,
    CustomLayer,
    Dense,
    DenseLayer,
    DropoutLayer,
    FlattenLayer,
    GaussianNoiseLayer,
    LayerNormalizationLayer,
    ReshapeLayer,
)
from trainer.models.initializers import build_initializer
from trainer.models.noise import CompiledDropout, CompiledGaussianNoise
from trainer.models.penalties import build_constraint, build_regularizer
from trainer.models.seeds import derived_seed


def build_layer(
    layer: AnyLayer,
    name: str,
    seed: int,
    policy: str,
    build_custom: Callable[[Custom], keras.layers.Layer],
    *,
    compiled: bool,
) -> keras.layers.Layer:
    """Return a hidden layer, not yet built.

    Args:
        layer: Settings of the layer.
        name: Name of the layer; its seeds are derived from it.
        seed: Seed of the config.
        policy: Dtype policy, such as `mixed_float16`. A custom layer keeps its own.
        build_custom: Builds a custom layer.
        compiled: Whether the layer is for training under XLA (`trainer.models.noise`) and not saved.
    """
    match layer:
        case DenseLayer(dense=dense):
            return _build_dense(dense, name, seed, policy)
        case ActivationLayer(activation=activation):
            return keras.layers.Activation(activation.name, name=name, dtype=policy)
        case DropoutLayer(dropout=dropout):
            kind = CompiledDropout if compiled else keras.layers.Dropout
            return kind(
                dropout.rate, seed=derived_seed(seed, name, "noise"), name=name, dtype=policy
            )
        case GaussianNoiseLayer(gaussian_noise=noise):
            kind = CompiledGaussianNoise if compiled else keras.layers.GaussianNoise
            return kind(
                noise.stddev, seed=derived_seed(seed, name, "noise"), name=name, dtype=policy
            )
        case BatchNormalizationLayer(batch_normalization=normalization):
            return keras.layers.BatchNormalization(
                momentum=normalization.momentum,
                epsilon=normalization.epsilon,
                center=normalization.center,
                scale=normalization.scale,
                name=name,
                dtype=policy,
            )
        case LayerNormalizationLayer(layer_normalization=normalization):
            return keras.layers.LayerNormalization(
                epsilon=normalization.epsilon,
                center=normalization.center,
                scale=normalization.scale,
                name=name,
                dtype=policy,
            )
        case FlattenLayer():
            return keras.layers.Flatten(name=name, dtype=policy)
        case ReshapeLayer(reshape=reshape):
            return keras.layers.Reshape(tuple(reshape.shape), name=name, dtype=policy)
        case CustomLayer(custom=custom):
            custom_layer = build_custom(custom)
            custom_layer.name = name
            return custom_layer
        case _:
            assert_never(layer)


def build_embeddings(
    width: int, embeddings: Sequence[tuple[int, int]], name: str, seed: int
) -> keras.Model:
    """Return the embedding block: (n, width) → (n, numeric columns + Σ dimensions).

    A functional model of Keras's own layers, which plain Keras can load. It computes in float32 under
    every policy: ids above 2,048 are not exact in float16.

    Args:
        width: Columns of the input; the last `len(embeddings)` hold ids, the others numbers.
        embeddings: (levels, dimension) of each column of ids.
        name: Name of the block.
        seed: Seed of the config.
    """
    inputs = keras.Input((width,), dtype="float32", name=f"{name}_input")
    column = keras.layers.Reshape((width, 1), dtype="float32", name="columns")(inputs)
    numbers = width - len(embeddings)
    parts = []
    if numbers:
        # Cropping instead of slicing: the operation of a slice is named by a counter of the process.
        cropped = keras.layers.Cropping1D(
            (0, len(embeddings)), dtype="float32", name="numeric_columns"
        )(column)
        parts.append(keras.layers.Reshape((numbers,), dtype="float32", name="numbers")(cropped))
    for index, (levels, dimension) in enumerate(embeddings):
        position = numbers + index
        ids = keras.layers.Cropping1D(
            (position, width - position - 1), dtype="float32", name=f"ids_{index}"
        )(column)
        table = keras.layers.Embedding(
            levels,
            dimension,
            embeddings_initializer=keras.initializers.RandomUniform(
                seed=derived_seed(seed, name, str(index))
            ),
            dtype="float32",
            name=f"embedding_{index}",
        )
        vectors = table(keras.layers.Reshape((1,), dtype="float32", name=f"id_{index}")(ids))
        parts.append(
            keras.layers.Reshape((dimension,), dtype="float32", name=f"vector_{index}")(vectors)
        )
    outputs = (
        keras.layers.Concatenate(dtype="float32", name="features")(parts)
        if len(parts) > 1
        else parts[0]
    )
    return keras.Model(inputs, outputs, name=name)


def _build_dense(dense: Dense, name: str, seed: int, policy: str) -> keras.layers.Dense:
    return keras.layers.Dense(
        dense.units,
        activation=dense.activation,
        use_bias=dense.use_bias,
        kernel_initializer=build_initializer(
            dense.kernel_initializer, derived_seed(seed, name, "kernel")
        ),
        bias_initializer=build_initializer(
            dense.bias_initializer, derived_seed(seed, name, "bias")
        ),
        kernel_regularizer=build_regularizer(dense.kernel_regularizer),
        bias_regularizer=build_regularizer(dense.bias_regularizer),
        activity_regularizer=build_regularizer(dense.activity_regularizer),
        kernel_constraint=build_constraint(dense.kernel_constraint),
        bias_constraint=build_constraint(dense.bias_constraint),
        name=name,
        dtype=policy,
    )
