"""Keras layers for the hidden layers of the config, and the embedding block.

The output layer is in `trainer.models.network`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from trainer.config.layer_base import LayerEntry
from trainer.config.layers import Custom
from trainer.models.initializers import build_initializer
from trainer.models.noise import COMPILED_LAYERS
from trainer.models.penalties import build_constraint, build_regularizer
from trainer.models.seeds import derived_seed


def build_layer(
    layer: LayerEntry,
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
    settings = layer.settings
    if isinstance(settings, Custom):
        custom_layer = build_custom(settings)
        custom_layer.name = name
        return custom_layer
    assert settings.keras_layer is not None
    arguments = {
        argument: _keras_value(argument, value, name, seed)
        for argument, value in settings.keras_arguments().items()
    }
    if settings.random:
        arguments["seed"] = derived_seed(seed, name, "noise")
    kind = getattr(keras.layers, settings.keras_layer)
    if compiled:
        kind = COMPILED_LAYERS.get(kind, kind)
    return kind(**arguments, name=name, dtype=policy)


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


def _keras_value(argument: str, value: Any, name: str, seed: int) -> Any:
    """Return an argument of a Keras layer, with the Keras object in place of its settings."""
    variable, _, role = argument.rpartition("_")
    match role:
        case "initializer":
            return build_initializer(value, derived_seed(seed, name, variable))
        case "regularizer":
            return build_regularizer(value)
        case "constraint":
            return build_constraint(value)
        case _:
            return value
