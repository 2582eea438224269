"""Keras layers for the hidden layers of the config, and the embedding block.

The output layer is in `trainer.models.network`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from trainer.config.layers.base import LayerEntry
from trainer.config.layers.custom import Custom
from trainer.inputs import CATEGORIES, FEATURES, InputSpec, keras_inputs
from trainer.models.initializers import build_initializer
from trainer.models.noise import COMPILED_LAYERS
from trainer.models.penalties import build_constraint, build_regularizer
from trainer.models.seeds import derived_seed
from trainer.models.summary import NetworkShape


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


def build_embeddings(shape: NetworkShape, name: str, seed: int) -> keras.Model:
    """Return the embedding block: inputs of the network → (n, features + Σ dimensions).

    A functional model of Keras's own layers, which plain Keras can load. It computes in float32 under
    every policy.

    Args:
        shape: The inputs of the network and its embeddings.
        name: Name of the block.
        seed: Seed of the config.
    """
    tensors = named_tensors(shape.inputs)
    parts = [tensors[FEATURES]] if FEATURES in tensors else []
    count = len(shape.embeddings)
    column = keras.layers.Reshape((count, 1), dtype="float32", name="columns")(tensors[CATEGORIES])
    for index, (levels, dimension) in enumerate(shape.embeddings):
        # Cropping instead of slicing: the operation of a slice is named with a per-process counter.
        ids = keras.layers.Cropping1D(
            (index, count - index - 1), dtype="float32", name=f"ids_{index}"
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
        keras.layers.Concatenate(dtype="float32", name="embedded")(parts)
        if len(parts) > 1
        else parts[0]
    )
    return keras.Model(keras_inputs(tensors), outputs, name=name)


def named_tensors(inputs: Sequence[InputSpec]) -> dict[str, Any]:
    """Return symbolic tensors for the inputs of a model."""
    return {spec.name: keras.Input(spec.shape, dtype=spec.dtype, name=spec.name) for spec in inputs}


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
