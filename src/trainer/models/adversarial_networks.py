"""Build the generator and the discriminator of task: generate as Keras models.

Every initial weight depends only on `config.seed`, the name of the network and that of the layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import keras

from trainer.config.generation import Networks
from trainer.config.layers.base import LayerEntry, Shape
from trainer.inputs import CONDITION, LATENT
from trainer.models.generation_summary import (
    DISCRIMINATOR,
    GENERATOR,
    IMAGE_SHAPE,
    GenerationShape,
    convolutional_head,
)
from trainer.models.initializers import build_initializer
from trainer.models.layers import LayerContext, build_layer
from trainer.models.seeds import default_seed, derived_seed
from trainer.models.summary import CONCATENATE, HEAD, layer_names

_DTYPE = "float32"
"""A name, as layers that share the object of Keras's global policy are saved with its address."""
_NORMALIZED = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
)


def build_generator(
    networks: Networks, shape: GenerationShape, seed: int, *, compiled: bool = False
) -> keras.Model:
    """Return the generator: latent numbers, and a one-hot class if there are classes → samples.

    Images have values from -1 to 1. Of a row, one-hot parts are logits.

    Args:
        networks: The `networks` section.
        shape: What the networks depend on besides their layers.
        seed: Seed of the config.
        compiled: Whether it is for training under XLA; it then cannot be saved.
    """
    context = LayerContext(derived_seed(seed, GENERATOR, "network"), "float32", compiled)
    with default_seed(context.seed), keras.name_scope(GENERATOR):
        latent = keras.Input((shape.latent,), name=LATENT)
        inputs, output = [latent], latent
        if shape.classes:
            inputs.append(keras.Input((shape.classes,), name=CONDITION))
            output = keras.layers.Concatenate(name=CONCATENATE, dtype=_DTYPE)(inputs)
        output = _hidden(networks.generator.layers, output, context)
        output = _generator_head(output, shape, context)
        return keras.Model(_inputs(inputs), output, name=GENERATOR)


def build_discriminator(
    networks: Networks, shape: GenerationShape, seed: int, *, compiled: bool = False
) -> keras.Model:
    """Return the discriminator: samples, and a one-hot class if there are classes → (rows, 1) scores.

    Args:
        networks: The `networks` section.
        shape: What the networks depend on besides their layers.
        seed: Seed of the config.
        compiled: Whether it is for training under XLA.
    """
    settings = networks.discriminator
    context = LayerContext(derived_seed(seed, DISCRIMINATOR, "network"), "float32", compiled)
    normalize = settings.spectral_normalization
    with default_seed(context.seed), keras.name_scope(DISCRIMINATOR):
        sample = keras.Input(shape.sample.shape, name="sample")
        inputs, condition = [sample], None
        if shape.classes:
            condition = keras.Input((shape.classes,), name=CONDITION)
            inputs.append(condition)
        output = _hidden(settings.layers, sample, context, condition, normalize=normalize)
        head: Any = _dense_head(1, None, context)
        if normalize:
            head = keras.layers.SpectralNormalization(head, name=f"{HEAD}_normalized")
        return keras.Model(_inputs(inputs), head(output), name=DISCRIMINATOR)


def _inputs(inputs: Sequence[Any]) -> Any:
    return inputs[0] if len(inputs) == 1 else list(inputs)


def _hidden(
    layers: Sequence[LayerEntry],
    output: Any,
    context: LayerContext,
    condition: Any = None,
    *,
    normalize: bool = False,
) -> Any:
    def join(values: Any) -> Any:
        nonlocal condition
        if condition is None or len(values.shape) != 2:
            return values
        joined, condition = (
            keras.layers.Concatenate(name=CONCATENATE, dtype=_DTYPE)([values, condition]),
            None,
        )
        return joined

    output = join(output)
    for name, layer in zip(layer_names(layers), layers, strict=True):
        before: Shape = tuple(output.shape[1:])
        built = build_layer(layer.settings, name, before, context)
        if normalize and isinstance(built, _NORMALIZED):
            built = keras.layers.SpectralNormalization(built, name=f"{name}_normalized")
        output = join(built(output))
    return output


def _generator_head(output: Any, shape: GenerationShape, context: LayerContext) -> Any:
    sample = shape.sample.shape
    if convolutional_head(tuple(output.shape[1:]), shape):
        return keras.layers.Conv2D(
            sample[-1],
            3,
            padding="same",
            activation="tanh",
            kernel_initializer=_kernel_initializer(context),
            name=HEAD,
            dtype=_DTYPE,
        )(output)
    head = _dense_head(prod(sample), "tanh" if shape.is_image else None, context)
    output = head(output)
    return (
        keras.layers.Reshape(sample, name=IMAGE_SHAPE, dtype=_DTYPE)(output)
        if shape.is_image
        else output
    )


def _dense_head(units: int, activation: str | None, context: LayerContext) -> keras.layers.Dense:
    kernel = _kernel_initializer(context)
    return keras.layers.Dense(units, activation, kernel_initializer=kernel, name=HEAD, dtype=_DTYPE)


def _kernel_initializer(context: LayerContext) -> keras.initializers.Initializer:
    return build_initializer("glorot_uniform", derived_seed(context.seed, HEAD, "kernel"))
