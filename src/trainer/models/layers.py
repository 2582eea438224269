"""Keras layers for the hidden layers of the config, and the embedding block.

The output layer is in `trainer.models.network`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from trainer.config.layers.base import LayerKind, Shape
from trainer.config.layers.residual import Residual
from trainer.config.layers.scaling import LearnedScale
from trainer.config.layers.sequences import Recurrent, Transformer
from trainer.inputs import CATEGORIES, FEATURES, TERMS, ImageScaling, InputSpec, keras_inputs
from trainer.models.attention import name_inner_layers
from trainer.models.compiled_layers import COMPILED_LAYERS
from trainer.models.initializers import build_initializer
from trainer.models.penalties import build_constraint, build_regularizer
from trainer.models.seeds import derived_seed
from trainer.models.summary import NetworkShape, kind_names

TERM_TABLE = "terms_embedding"


@dataclass(frozen=True, slots=True)
class LayerContext:
    """What the hidden layers of a network have in common.

    Attributes:
        seed: Seed of the config.
        policy: Dtype policy, such as `mixed_float16`. A custom layer keeps its own.
        compiled: Whether the layers are for training under XLA (`trainer.models.compiled_layers`) and
            not saved.
    """

    seed: int
    policy: str
    compiled: bool


def build_layer(
    settings: LayerKind,
    name: str,
    shape: Shape | None,
    context: LayerContext,
    *,
    masked: bool = False,
) -> keras.layers.Layer:
    """Return a hidden layer, not yet built.

    Args:
        settings: Settings of the layer, not of a custom one.
        name: Name of the layer; its seeds are derived from it.
        shape: Shape of its input; None if unknown.
        context: What the layers of the network have in common.
        masked: Whether a transformer also takes the mask of its input (`trainer.models.masks`).
    """
    if isinstance(settings, Residual):
        assert shape is not None, "a residual block has a known input shape"
        return _build_residual(settings, name, shape, context)
    if isinstance(settings, LearnedScale):
        assert shape is not None, "a learned scale has a known input shape"
        return _build_learned_scale(settings, name, shape, context.policy)
    if isinstance(settings, Transformer):
        assert shape is not None, "a transformer has a known input shape"
        return build_transformer(settings, name, shape, context, masked=masked)
    if isinstance(settings, Recurrent):
        return _build_recurrent(settings, name, shape, context)
    return _keras_layer(settings, name, name, shape, context)


def _keras_layer(
    settings: LayerKind,
    name: str,
    seeded: str,
    shape: Shape | None,
    context: LayerContext,
    **more: Any,
) -> keras.layers.Layer:
    """Return the Keras layer of a kind; its seeds are derived from the name `seeded`."""
    arguments = {
        argument: _keras_value(argument, value, seeded, context.seed)
        for argument, value in settings.keras_arguments().items()
    }
    if settings.random:
        arguments["seed"] = derived_seed(context.seed, seeded, "noise")
    kind = getattr(keras.layers, settings.keras_class(shape))
    if context.compiled:
        kind = COMPILED_LAYERS.get(kind, kind)
    return kind(**arguments, **more, name=name, dtype=context.policy)


def _build_recurrent(
    settings: Recurrent, name: str, shape: Shape | None, context: LayerContext
) -> keras.layers.Layer:
    if not settings.bidirectional:
        return _keras_layer(settings, name, name, shape, context)
    # By default, both directions have the same initial weights.
    forward, backward = (
        _keras_layer(settings, direction, f"{name}_{direction}", shape, context, go_backwards=flag)
        for direction, flag in (("forward", False), ("backward", True))
    )
    return keras.layers.Bidirectional(
        forward, backward_layer=backward, name=name, dtype=context.policy
    )


def _build_residual(
    settings: Residual, name: str, shape: Shape, context: LayerContext
) -> keras.Model:
    """Return a residual block, a functional model that plain Keras can load.

    The names of its layers start with its own, so that they are unique in the network.
    """
    policy = context.policy
    start = keras.Input(shape, dtype=keras.DTypePolicy(policy).compute_dtype, name=f"{name}_input")
    output = start
    inner_names = kind_names(settings.block)
    for layer, inner, before in zip(
        settings.block, inner_names, settings.shapes(shape)[:-1], strict=True
    ):
        output = build_layer(layer, f"{name}_{inner}", before, context)(output)
    shortcut = start
    kernel, strides = settings.projection(shape), settings.strides(shape)
    if kernel is not None:
        arguments = {
            "kernel_initializer": build_initializer(
                "glorot_uniform", derived_seed(context.seed, f"{name}_shortcut", "kernel")
            ),
            "use_bias": False,
            "name": f"{name}_shortcut",
            "dtype": policy,
        }
        if strides:
            layer_class = getattr(keras.layers, f"Conv{len(strides)}D")
            arguments |= {"kernel_size": 1, "strides": strides, "padding": "same"}
        else:
            layer_class = keras.layers.Dense
        shortcut = layer_class(kernel[-1], **arguments)(shortcut)
        if settings.normalize_shortcut:
            shortcut = keras.layers.BatchNormalization(
                name=f"{name}_shortcut_normalization", dtype=policy
            )(shortcut)
    output = keras.layers.Add(name=f"{name}_add", dtype=policy)([output, shortcut])
    if settings.activation != "linear":
        output = keras.layers.Activation(settings.activation, name=f"{name}_output", dtype=policy)(
            output
        )
    return keras.Model(start, output, name=name)


def _build_learned_scale(
    settings: LearnedScale, name: str, shape: Shape, policy: str
) -> keras.Model:
    """Return x + multiplier · (x · weights), a functional model that plain Keras can load."""
    axes = "abcdefghi"[: len(shape) + 1]
    start = keras.Input(shape, dtype=keras.DTypePolicy(policy).compute_dtype, name=f"{name}_input")
    product = keras.layers.EinsumDense(
        f"{axes},{axes[-1]}->{axes}",
        shape,
        kernel_initializer="zeros",
        name=f"{name}_product",
        dtype=policy,
    )(start)
    change = keras.layers.Rescaling(settings.multiplier, name=f"{name}_change", dtype=policy)(
        product
    )
    output = keras.layers.Add(name=f"{name}_add", dtype=policy)([start, change])
    return keras.Model(start, output, name=name)


def _initialize_attention(attention: keras.layers.MultiHeadAttention, name: str, seed: int) -> None:
    """Name the layers of an attention, and set their initial weights.

    Keras gives queries, keys and values the same ones if there is a seed.
    """
    name_inner_layers(attention)
    for role in ("query", "key", "value", "output"):
        kernel = getattr(attention, f"{role}_dense").kernel
        initializer = build_initializer(
            "glorot_uniform", derived_seed(seed, name, f"attention_{role}")
        )
        kernel.assign(initializer(kernel.shape))


def build_transformer(
    settings: Transformer, name: str, shape: Shape, context: LayerContext, *, masked: bool = False
) -> keras.Model:
    """Return a transformer encoder layer, a functional model that plain Keras can load.

    If it is masked, it is called with a sequence and its mask, float32 (n, length).
    """
    length, width = shape
    policy = context.policy

    def initializer(role: str) -> keras.initializers.Initializer:
        return build_initializer("glorot_uniform", derived_seed(context.seed, name, role))

    def dense(units: int, role: str, activation: str = "linear") -> keras.layers.Layer:
        kernel = initializer(role)
        return keras.layers.Dense(
            units, activation, kernel_initializer=kernel, name=f"{name}_{role}", dtype=policy
        )

    def dropped(values: Any, role: str) -> Any:
        if not settings.dropout:
            return values
        kind: Any = keras.layers.Dropout
        if context.compiled:
            kind = COMPILED_LAYERS[kind]
        seed = derived_seed(context.seed, name, role)
        return kind(settings.dropout, seed=seed, name=f"{name}_{role}", dtype=policy)(values)

    def added(values: Any, other: Any, role: str) -> Any:
        total = keras.layers.Add(name=f"{name}_{role}_add", dtype=policy)([values, other])
        norm = keras.layers.LayerNormalization(name=f"{name}_{role}_normalization", dtype=policy)
        return norm(total)

    start = keras.Input(shape, dtype=keras.DTypePolicy(policy).compute_dtype, name=f"{name}_input")
    output = start
    if settings.positions:
        seed = derived_seed(context.seed, name, "positions_bias")
        output = keras.layers.EinsumDense(
            "abc,cd->abd", (length, width), bias_axes="bd",
            kernel_initializer=initializer("positions"),
            bias_initializer=keras.initializers.RandomNormal(stddev=0.02, seed=seed),
            name=f"{name}_positions", dtype=policy,
        )(output)  # fmt: skip
    attention = keras.layers.MultiHeadAttention(
        settings.heads, width // settings.heads, flash_attention=False,
        seed=derived_seed(context.seed, name, "attention"), name=f"{name}_attention",
        dtype=policy,
    )  # fmt: skip
    inputs: Any = start
    options = {}
    if masked:
        mask = keras.Input((length,), dtype="float32", name=f"{name}_mask")
        reshape = keras.layers.Reshape((1, length), dtype="float32", name=f"{name}_attention_mask")
        inputs, options = [start, mask], {"attention_mask": reshape(mask)}
    attended = attention(output, output, **options)
    _initialize_attention(attention, name, context.seed)
    output = added(output, dropped(attended, "attention_dropout"), "attention")
    hidden = dense(settings.hidden(shape), "hidden", settings.activation)(output)
    outputs = dropped(dense(width, "outputs")(hidden), "dropout")
    return keras.Model(inputs, added(output, outputs, "output"), name=name)


def build_image_scaling(scaling: ImageScaling, name: str) -> keras.layers.Layer:
    """Return the layer that scales the values of an image, in float32 under every policy."""
    factors, offsets = (
        values[0] if len(values) == 1 else list(values)
        for values in (scaling.factors, scaling.offsets)
    )
    return keras.layers.Rescaling(factors, offsets, name=name, dtype="float32")


def build_embeddings(shape: NetworkShape, name: str, seed: int) -> keras.Model:
    """Return the embedding block: the columns, all inputs but an image → (n, features + Σ dimensions).

    A functional model of Keras's own layers, which plain Keras can load. It computes in float32 under
    every policy.

    Args:
        shape: The inputs of the network and its embeddings.
        name: Name of the block.
        seed: Seed of the config.
    """
    tensors = named_tensors(shape.columns)
    parts = [tensors[FEATURES]] if FEATURES in tensors else []
    if CATEGORIES in tensors:
        parts += _category_vectors(tensors[CATEGORIES], shape.embeddings, name, seed)
    if shape.term_vectors is not None:
        parts.append(_text_vector(tensors[TERMS], shape.term_vectors, name, seed))
    outputs = (
        keras.layers.Concatenate(dtype="float32", name="embedded")(parts)
        if len(parts) > 1
        else parts[0]
    )
    return keras.Model(keras_inputs(tensors), outputs, name=name)


def _category_vectors(
    categories: Any, embeddings: Sequence[tuple[int, int]], name: str, seed: int
) -> list[Any]:
    """Return the vector of each column of the input `categories`."""
    count = len(embeddings)
    column = keras.layers.Reshape((count, 1), dtype="float32", name="columns")(categories)
    vectors = []
    for index, (levels, dimension) in enumerate(embeddings):
        # Cropping instead of slicing: the operation of a slice is named with a per-process counter.
        ids = keras.layers.Cropping1D(
            (index, count - index - 1), dtype="float32", name=f"ids_{index}"
        )(column)
        table = build_table(
            levels, dimension, f"embedding_{index}", derived_seed(seed, name, str(index))
        )
        rows = table(keras.layers.Reshape((1,), dtype="float32", name=f"id_{index}")(ids))
        vectors.append(
            keras.layers.Reshape((dimension,), dtype="float32", name=f"vector_{index}")(rows)
        )
    return vectors


def _text_vector(terms: Any, size: tuple[int, int], name: str, seed: int) -> Any:
    """Return the weighted sum of the vectors of the input `terms`."""
    slots = terms.shape[1]
    pairs = keras.layers.Permute((2, 1), dtype="float32", name="pairs")(terms)
    ids, weights = (
        keras.layers.Reshape((slots,), dtype="float32", name=part)(
            keras.layers.Cropping1D((index, 1 - index), dtype="float32", name=f"{part}_column")(
                pairs
            )
        )
        for index, part in enumerate(("term_ids", "term_weights"))
    )
    vectors = build_table(*size, TERM_TABLE, derived_seed(seed, name, TERMS))(ids)
    return keras.layers.Dot(axes=1, dtype="float32", name="text_vector")([weights, vectors])


def build_table(levels: int, dimension: int, name: str, seed: int) -> keras.layers.Embedding:
    """Return a table of learned vectors, in float32 under every policy."""
    return keras.layers.Embedding(
        levels,
        dimension,
        embeddings_initializer=keras.initializers.RandomUniform(seed=seed),
        dtype="float32",
        name=name,
    )


def embedding_layers(block: keras.Model) -> list[keras.layers.Embedding]:
    """Return the embedding layers of the block: those of the columns in their order, that of terms."""
    tables = {
        layer.name: layer for layer in block.layers if isinstance(layer, keras.layers.Embedding)
    }
    columns = [f"embedding_{index}" for index in range(len(tables))]
    return [tables[name] for name in (*columns, TERM_TABLE) if name in tables]


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
