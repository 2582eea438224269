"""Construction of the network: a config and the shapes of the data → a built `keras.Sequential`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import assert_never

import keras
import numpy as np
import numpy.typing as npt

from trainer.config.layers import Custom
from trainer.config.model import HeadKind
from trainer.config.schema import Config
from trainer.errors import ConfigError, Problem
from trainer.models.custom import build_custom
from trainer.models.initializers import build_initializer
from trainer.models.layers import build_embeddings, build_layer
from trainer.models.penalties import build_regularizer
from trainer.models.seeds import default_seed, derived_seed
from trainer.models.summary import EMBEDDINGS, HEAD, layer_names, summarize_layers

PRIOR_MARGIN = 1e-6
"""Minimum distance of class frequencies from 0 and 1, where the bias would be infinite."""


def build_network(
    config: Config,
    width: int,
    embeddings: Sequence[tuple[int, int]],
    head: HeadKind,
    outputs: int,
    prior: Sequence[float],
    allow_custom: bool,
    base: Path,
    compiled: bool = False,
) -> keras.Sequential:
    """Return a network of plain Keras layers, whose `.keras` file loads without this package.

    Every initial weight depends only on `config.seed` and the layer's name; those of custom layers
    depend on the config.

    Args:
        config: Its `model`, `seed` and `runtime.precision` are used.
        width: Columns of x, including the ids of embedded columns.
        embeddings: (levels, dimension) of each embedded column; their ids are the last columns.
        head: Kind of the output layer, never `auto`.
        outputs: Units of the output layer (`trainer.tasks.base.TaskKind.head_units`).
        prior: Frequency of each class in the training rows (for two classes, only of the positive one),
            of the positive label in each column, or the mean of each (scaled) target.
        allow_custom: Whether custom layers can be imported.
        base: Directory to import custom layers from.
        compiled: Whether the network is for training under XLA: dropout and noise use another
            generator, and the network cannot be saved.

    Raises:
        ConfigError: Shapes do not match, or a custom layer is not allowed or fails.
    """
    summarize_layers(config.model, width, embeddings, head, outputs)
    # Custom layers may be created without seeds.
    with default_seed(derived_seed(config.seed, "custom", "default")):
        network = _build(
            config, width, embeddings, head, outputs, allow_custom, base, compiled=compiled
        )
    if config.model.output_bias == "prior":
        network.layers[-1].bias.assign(prior_bias(head, outputs, prior))
    return network


def _build(
    config: Config,
    width: int,
    embeddings: Sequence[tuple[int, int]],
    head: HeadKind,
    outputs: int,
    allow_custom: bool,
    base: Path,
    *,
    compiled: bool,
) -> keras.Sequential:
    layers: list[keras.layers.Layer] = []
    if embeddings:
        layers.append(build_embeddings(width, embeddings, EMBEDDINGS, config.seed))
    names = layer_names(config.model.layers)
    for index, (name, layer) in enumerate(zip(names, config.model.layers, strict=True)):
        build = partial(
            build_custom,
            kind=keras.layers.Layer,
            allow_custom=allow_custom,
            base=base,
            key=f"model.layers.{index}.custom.function",
        )
        layers.append(
            build_layer(
                layer, name, config.seed, config.runtime.precision, build, compiled=compiled
            )
        )
    layers.append(_build_head(config, head, outputs))
    return _stack(config, width, layers)


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


def _stack(config: Config, width: int, layers: Sequence[keras.layers.Layer]) -> keras.Sequential:
    """Build the layers as a `keras.Sequential`; a failure is attributed to a custom layer."""
    inputs = keras.Input((width,), dtype="float32", name="input")
    custom = [
        index
        for index, layer in enumerate(config.model.layers)
        if isinstance(layer.settings, Custom)
    ]
    if not custom:
        return keras.Sequential([inputs, *layers], name="network")
    key = f"model.layers.{custom[-1]}.custom"
    try:
        network = keras.Sequential([inputs, *layers], name="network")
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise ConfigError(_shape_problem("layers that fit together", found, key)) from error
    shape = network.output_shape
    if len(shape) != 2:
        found = f"a network with output shape {shape}"
        raise ConfigError(_shape_problem("one output axis", found, key))
    return network


def _shape_problem(expected: str, found: str, key: str) -> Problem:
    fix = "correct the custom layer, or add `- flatten` as the last layer"
    return Problem(where="", expected=expected, found=found, fix=fix, key=key)
