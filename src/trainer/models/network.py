"""The network: a config and the shapes of the data → a built, uncompiled `keras.Sequential`.

Owns: the order of its parts, the head and the bias it starts with. Does not own: the loss, the
optimizer, training.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import assert_never

import keras
import numpy as np
import numpy.typing as npt

from trainer.config.layers import CustomLayer, HeadKind
from trainer.config.schema import Config
from trainer.errors import ConfigError, Problem
from trainer.models.custom import build_custom
from trainer.models.initializers import build_initializer
from trainer.models.layers import build_embeddings, build_layer
from trainer.models.penalties import build_regularizer
from trainer.models.seeds import default_seed, derived_seed
from trainer.models.summary import EMBEDDINGS, HEAD, layer_names, summarize_layers

PRIOR_MARGIN = 1e-6
"""Shares of classes are kept this far from 0 and 1, where the bias would be infinite."""


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
    """A network of plain Keras layers, whose `.keras` file opens where this package is not.

    Every weight is a function of `config.seed` and the layer's name alone, but those of custom
    layers, which are a function of the config.

    Args:
        config: The experiment: its `model`, `seed` and `runtime.precision` are read.
        width: Columns of x, the ids of embedded columns included.
        embeddings: (levels, dimension) of each embedded column; their ids are the last columns.
        head: The head, never `auto`.
        outputs: Units of the head (`trainer.models.summary.head_units`).
        prior: Training share of each class (of the positive one alone for two classes), of yes in
            each column, or the mean of each (scaled) number.
        allow_custom: Whether layers of the user's own may be imported.
        base: The directory they are imported from.
        compiled: For training under XLA: dropout and noise come from another generator, and the
            network is not to be saved.

    Raises:
        ConfigError: Shapes do not fit, or a custom layer is not allowed or fails.
    """
    summarize_layers(config.model, width, embeddings, head, outputs)
    # Custom layers may be made without seeds.
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
        door = partial(
            build_custom,
            kind=keras.layers.Layer,
            allow_custom=allow_custom,
            base=base,
            key=f"model.layers.{index}.custom.function",
        )
        layers.append(
            build_layer(layer, name, config.seed, config.runtime.precision, door, compiled=compiled)
        )
    layers.append(_build_head(config, head, outputs))
    return _stack(config, width, layers)


def prior_bias(head: HeadKind, outputs: int, prior: Sequence[float]) -> npt.NDArray[np.float32]:
    """The head's bias, (outputs,), under which a zero input gives the prior.

    sigmoid: log(p / (1 - p)); softmax: log p; linear: the mean m itself; exponential: log m; softplus:
    log(exp(m) - 1).
    """
    shares = np.asarray(prior, dtype=np.float64)
    match head:
        case "linear":
            bias = shares
        case "exponential":
            bias = np.log(np.maximum(shares, PRIOR_MARGIN))
        case "softplus":
            means = np.maximum(shares, PRIOR_MARGIN)
            # Without overflow: log(exp(m) - 1) = m + log(1 - exp(-m)).
            bias = means + np.log(-np.expm1(-means))
        case "sigmoid":
            kept = np.clip(shares, PRIOR_MARGIN, 1 - PRIOR_MARGIN)
            bias = np.log(kept) - np.log1p(-kept)
        case "softmax":
            if len(shares) == 1 and outputs == 2:
                shares = np.concatenate([1 - shares, shares])
            bias = np.log(np.clip(shares, PRIOR_MARGIN, 1.0))
        case _:
            assert_never(head)
    assert bias.shape == (outputs,), (bias.shape, outputs)
    return bias.astype(np.float32)


def _build_head(config: Config, head: HeadKind, outputs: int) -> keras.layers.Dense:
    # float32 under every policy: a softmax in float16 loses what the loss needs.
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
    """The layers, built one after the other; where that fails, a custom layer is to blame."""
    inputs = keras.Input((width,), dtype="float32", name="input")
    custom = [
        index for index, layer in enumerate(config.model.layers) if isinstance(layer, CustomLayer)
    ]
    if not custom:
        return keras.Sequential([inputs, *layers], name="network")
    key = f"model.layers.{custom[-1]}.custom"
    try:
        network = keras.Sequential([inputs, *layers], name="network")
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise ConfigError(
            _misfit("layers that can be built one after the other", found, key)
        ) from error
    shape = network.output_shape
    if len(shape) != 2:
        raise ConfigError(_misfit("one axis of outputs", f"a network of output shape {shape}", key))
    return network


def _misfit(expected: str, found: str, key: str) -> Problem:
    fix = "mend the custom layer, or add `- flatten` before the head"
    return Problem(where="", expected=expected, found=found, fix=fix, key=key)
