"""Construction of the network: a config and the shapes of the data → a built Keras model.

A network with one input is a `keras.Sequential` of its layers; with several, or a mask of tokens, a
`keras.Model` with named inputs and the same layers. The other columns are concatenated with the first
output of the layers of an image or tokens that has one axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import keras
import numpy as np
import numpy.typing as npt

from trainer.config.layers.custom import Custom
from trainer.config.model import HeadKind
from trainer.config.schema import Config
from trainer.errors import ConfigError, Problem
from trainer.inputs import IMAGE, TOKENS, InputSpec, keras_inputs
from trainer.models.compiled_layers import has_compiled_layer
from trainer.models.custom import build_custom
from trainer.models.initializers import build_initializer
from trainer.models.layers import (
    LayerContext,
    build_embeddings,
    build_image_scaling,
    build_layer,
    build_table,
    named_tensors,
)
from trainer.models.masks import build_token_mask, masked_layers, masked_output
from trainer.models.penalties import build_regularizer
from trainer.models.pretrained.building import build_base
from trainer.models.pretrained.description import BASE
from trainer.models.pretrained.encoder_network import (
    EncoderContext,
    build_encoder,
    has_adapters,
    shorter_encoder,
)
from trainer.models.seeds import default_seed, derived_seed
from trainer.models.summary import (
    CONCATENATE,
    EMBEDDINGS,
    HEAD,
    IMAGE_SCALING,
    TOKEN_EMBEDDING,
    LayerSummary,
    NetworkShape,
    layer_names,
    summarize_layers,
)
from trainer.models.translation.network import build_translation

PRIOR_MARGIN = 1e-6
"""Minimum distance of class frequencies from 0 and 1, where the bias would be infinite."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant of a network; the default is the one that is saved, with initial weights.

    Attributes:
        compiled: For training under XLA: dropout and noise use another generator, and the network
            cannot be saved.
        base_weights: A pretrained base has its pretrained weights.
        adapters: A base has adapters that are trained, if the config has them.
    """

    compiled: bool = False
    base_weights: bool = False
    adapters: bool = False


def build_network(
    config: Config,
    shape: NetworkShape,
    prior: Sequence[float],
    *,
    allow_custom: bool,
    base: Path,
    variant: Variant = Variant(),
    shared: keras.Model | None = None,
) -> keras.Model:
    """Return a network of plain Keras layers, whose `.keras` file loads without this package.

    Every initial weight depends only on `config.seed` and the layer's name; those of custom layers
    depend on the config.

    Args:
        config: Its `model`, `seed` and `runtime.precision` are used.
        shape: Its inputs and its output layer.
        prior: Frequency of each class in the training rows (for two classes, only of the positive one),
            of the positive label in each column, or the mean of each (scaled) target.
        allow_custom: Whether custom layers can be imported.
        base: Directory to import custom layers from.
        variant: The variant of the network.
        shared: A compiled network of the same config. The new one consists of its layers, except those
            for XLA, and has their variables.

    Raises:
        ConfigError: Shapes do not match, or a custom layer is not allowed or fails.
    """
    if shape.translation is not None:
        return build_translation(config, shape, compiled=variant.compiled, shared=shared)
    summaries = summarize_layers(config.model, shape)
    build = partial(build_custom, kind=keras.layers.Layer, allow_custom=allow_custom, base=base)
    # Custom layers may be created without seeds.
    with default_seed(derived_seed(config.seed, "custom", "default")):
        layers = _hidden_layers(config, shape, summaries, build, compiled=variant.compiled)
        layers.append(_build_head(config, shape.head, shape.outputs))
        make_base = partial(_base, shape, config.seed, variant)
        chain = partial(_chain, config, shape, layers, shared, make_base)
        network = _connect(config, chain)
    if config.model.output_bias == "prior" and shared is None:
        network.layers[-1].bias.assign(prior_bias(shape.head, shape.outputs, prior))
    return network


def build_head_network(config: Config, network: keras.Model, shape: NetworkShape) -> keras.Model:
    """Return the layers after the base of a network, which they remain part of, as another network.

    Args:
        config: The config of the network.
        network: The network.
        shape: Its inputs; the output of the base, float32 (channels,), takes the place of its input.
    """
    assert shape.base is not None, "the network has a base"
    name = shape.base.input
    features = InputSpec(name, (shape.base.channels,), "float32")
    tensors = named_tensors([features if spec.name == name else spec for spec in shape.inputs])
    output = _after_base(config, network, shape, tensors, tensors[name])
    return keras.Model(keras_inputs(tensors), output, name="head_network")


def build_shorter_network(
    config: Config, network: keras.Model, shape: NetworkShape, length: int
) -> keras.Model:
    """Return a network with an encoder for texts of fewer tokens, of the layers of another one.

    Args:
        config: The config of the network.
        network: The network.
        shape: Its inputs.
        length: Number of tokens.
    """
    tokens = InputSpec(TOKENS, (length,), "int32")
    tensors = named_tensors([tokens if spec.name == TOKENS else spec for spec in shape.inputs])
    encoded = shorter_encoder(network.get_layer(BASE), length)(tensors[TOKENS])
    output = _after_base(config, network, shape, tensors, encoded)
    return keras.Model(keras_inputs(tensors), output, name="shorter_network")


def _after_base(
    config: Config,
    network: keras.Model,
    shape: NetworkShape,
    tensors: Mapping[str, Any],
    output: Any,
) -> Any:
    """Return the output of the layers of a network after its base.

    Args:
        config: The config of the network.
        network: The network.
        shape: Its inputs.
        tensors: Symbolic tensors of its inputs.
        output: The output of the base.
    """
    if shape.columns:
        columns: Any = keras_inputs({spec.name: tensors[spec.name] for spec in shape.columns})
        if shape.tables:
            columns = network.get_layer(EMBEDDINGS)(columns)
        output = _join(output, columns)
    for name in (*layer_names(config.model.layers), HEAD):
        output = network.get_layer(name)(output)
    return output


def trained_weights(network: keras.Model) -> list[Any]:
    """Return the weights in Keras's order, without those of a frozen base."""
    base = next((layer for layer in network.layers if layer.name == BASE), None)
    if base is None or base.trainable_weights:
        return list(network.weights)
    frozen = {id(weight) for weight in base.weights}
    return [weight for weight in network.weights if id(weight) not in frozen]


def _hidden_layers(
    config: Config,
    shape: NetworkShape,
    summaries: Sequence[LayerSummary],
    build_user_layer: Callable[..., keras.layers.Layer],
    *,
    compiled: bool,
) -> list[keras.layers.Layer]:
    """Return the hidden layers, not yet built.

    Args:
        config: Its `model`, `seed` and `runtime.precision` are used.
        shape: Its inputs and its output layer.
        summaries: The summaries of the layers, which have their input shapes.
        build_user_layer: `build_custom` without its first argument and its key.
        compiled: See `Variant`.
    """
    context = LayerContext(config.seed, config.runtime.precision, compiled)
    outputs = [shape.start, *(summary.output_shape for summary in summaries)]
    before = {summary.name: output for summary, output in zip(summaries, outputs, strict=False)}
    layers = []
    names, masked = layer_names(config.model.layers), masked_layers(config.model, shape)
    for index, (name, layer) in enumerate(zip(names, config.model.layers, strict=True)):
        settings = layer.settings
        if isinstance(settings, Custom):
            key = f"model.layers.{index}.custom.function"
            custom = build_user_layer(settings, key=key)
            custom.name = name
            layers.append(custom)
        else:
            layers.append(build_layer(settings, name, before[name], context, masked=masked[index]))
    return layers


def prior_bias(head: HeadKind, outputs: int, prior: Sequence[float]) -> npt.NDArray[np.float32]:
    """Return the (outputs,) bias of the output layer for which a zero input predicts the prior.

    sigmoid: log(p / (1 - p)); softmax: log p; linear: the mean m; exponential: log m; softplus:
    log(exp(m) - 1).
    """
    values = np.asarray(prior, dtype=np.float64)
    match head:
        case "linear":
            bias = values
        case "exponential":
            bias = np.log(np.maximum(values, PRIOR_MARGIN))
        case "softplus":
            means = np.maximum(values, PRIOR_MARGIN)
            # Without overflow: log(exp(m) - 1) = m + log(1 - exp(-m)).
            bias = means + np.log(-np.expm1(-means))
        case "sigmoid":
            clipped = np.clip(values, PRIOR_MARGIN, 1 - PRIOR_MARGIN)
            bias = np.log(clipped) - np.log1p(-clipped)
        case "softmax":
            if len(values) == 1 and outputs == 2:
                values = np.concatenate([1 - values, values])
            bias = np.log(np.clip(values, PRIOR_MARGIN, 1.0))
        case _:
            assert_never(head)
    assert bias.shape == (outputs,), (bias.shape, outputs)
    return bias.astype(np.float32)


def _build_head(config: Config, head: HeadKind, outputs: int) -> keras.layers.Dense:
    # float32 under every policy: a float16 softmax is not precise enough for the loss.
    return keras.layers.Dense(
        outputs,
        activation=head,
        kernel_initializer=build_initializer(
            config.model.head_initializer, derived_seed(config.seed, HEAD, "kernel")
        ),
        kernel_regularizer=build_regularizer(config.model.head_regularizer),
        name=HEAD,
        dtype="float32",
    )


def _connect(config: Config, chain: Callable[[], keras.Model]) -> keras.Model:
    """Return the network that `chain` builds; a failure is attributed to a custom layer."""
    custom = [
        index
        for index, layer in enumerate(config.model.layers)
        if isinstance(layer.settings, Custom)
    ]
    if not custom:
        return chain()
    key = f"model.layers.{custom[-1]}.custom"
    try:
        network = chain()
    except ConfigError:
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise ConfigError(_shape_problem("layers that fit together", found, key)) from error
    output_shape = network.output_shape
    if len(output_shape) != 2:
        found = f"a network with output shape {output_shape}"
        raise ConfigError(_shape_problem("one output axis", found, key))
    return network


def _chain(
    config: Config,
    shape: NetworkShape,
    layers: Sequence[keras.layers.Layer],
    shared: keras.Model | None,
    make_base: Callable[[], keras.Model],
) -> keras.Model:
    embeddings = [build_embeddings(shape, EMBEDDINGS, config.seed)] if shape.tables else []
    first = _first_layer(config.seed, shape)
    if shape.base is not None:
        first[BASE] = make_base()
    if shared is not None:
        embeddings, layers = (
            [_shared_layer(shared, layer) for layer in part] for part in (embeddings, layers)
        )
        first = {name: _shared_layer(shared, layer) for name, layer in first.items()}
    masked = masked_layers(config.model, shape)
    tensors = named_tensors(shape.inputs)
    if len(shape.inputs) == 1:
        (spec,) = shape.inputs
        only = keras.Input(spec.shape, dtype=spec.dtype, name="input")
        if not any(masked):
            return keras.Sequential([only, *embeddings, *first.values(), *layers], name="network")
        tensors = {spec.name: only}
    columns: Any = None
    if shape.columns:
        columns = keras_inputs({spec.name: tensors[spec.name] for spec in shape.columns})
    # The variables have the same paths as in a `keras.Sequential`: names of the state depend on them.
    with keras.name_scope("network"):
        for block in embeddings:
            columns = block(columns)
        output = columns if shape.base is None else tensors[shape.base.input]
        for name, layer in first.items():
            output = layer(output if name == BASE else tensors[name])
        if shape.base is not None and columns is not None:
            output, columns = _join(output, columns), None
        mask = build_token_mask(shape)(tensors[TOKENS]) if any(masked) else None
        # The output layer takes none.
        for layer, takes_mask in zip(layers, (*masked, False), strict=True):
            output = masked_output(layer, output, mask) if takes_mask else layer(output)
            if first and columns is not None and len(output.shape) == 2:
                output, columns = _join(output, columns), None
    return keras.Model(keras_inputs(tensors), output, name="network")


def _base(shape: NetworkShape, seed: int, variant: Variant) -> keras.Model:
    """Return the pretrained base of a network."""
    base = shape.base
    assert base is not None, "the network has a base"
    if base.input == IMAGE:
        assert shape.image is not None, "the network has an image"
        return build_base(base, shape.image, weights=variant.base_weights)
    (length,) = next(spec.shape for spec in shape.inputs if spec.name == TOKENS)
    context = EncoderContext(seed, compiled=variant.compiled, adapters=variant.adapters)
    return build_encoder(base, length, context, weights=variant.base_weights)


def _join(output: Any, columns: Any) -> Any:
    return keras.layers.Concatenate(name=CONCATENATE, dtype="float32")([output, columns])


def _shared_layer(network: keras.Model, layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return the layer of this name in a network, unless it is only for training."""
    existing = network.get_layer(layer.name)
    return layer if has_compiled_layer(existing) or has_adapters(existing) else existing


def _first_layer(seed: int, shape: NetworkShape) -> dict[str, keras.layers.Layer]:
    """Return the layer after the input of an image or of tokens, by the name of the input, if any."""
    if shape.image is not None:
        return {IMAGE: build_image_scaling(shape.image_scaling, IMAGE_SCALING)}
    if shape.token_vectors is not None:
        return {
            TOKENS: build_table(
                *shape.token_vectors, TOKEN_EMBEDDING, derived_seed(seed, TOKENS, "vectors")
            )
        }
    return {}


def _shape_problem(expected: str, found: str, key: str) -> Problem:
    fix = "correct the custom layer, or add `- flatten` as the last layer"
    return Problem(where="", expected=expected, found=found, fix=fix, key=key)
