"""Principal components of the training rows, for the layer `principal_components`.

They are the eigenvectors of the covariance matrix with the largest eigenvalues, each divided by the
standard deviation of the rows along it (Hastie, Tibshirani, Friedman, The Elements of Statistical
Learning, 2nd ed., 14.5). Importing this module does not import Keras.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config.layers.components import PrincipalComponents
from trainer.config.schema import Config
from trainer.errors import Problem
from trainer.inputs import FEATURES, InputArray
from trainer.models.summary import NetworkShape

Float32Array = NDArray[np.float32]

MAX_ROWS = 20_000
"""Of more rows, every second, third, … is used."""
_MIN_STD = 1e-5
"""Smallest standard deviation along a component, relative to the first: below, it is rounding error."""


def has_components(config: Config) -> bool:
    """Return whether the first layer is a projection on principal components."""
    layers = config.model.layers
    return bool(layers) and isinstance(layers[0].settings, PrincipalComponents)


def component_problems(config: Config, network: NetworkShape) -> Iterator[Problem]:
    """Yield a problem for each such layer that is not first, or whose inputs are not only features.

    Args:
        config: The config.
        network: The inputs of the network.
    """
    for index, layer in enumerate(config.model.layers):
        kind = layer.settings.kind
        if not isinstance(layer.settings, PrincipalComponents):
            continue
        key = f"model.layers.{index}.{kind}"
        if index:
            found = f"layer {index + 1}"
            fix = "move it to the top of model.layers, or use dense"
            yield Problem("", f"{kind} as the first layer", found, fix, key)
        others = [spec.name for spec in network.inputs if spec.name != FEATURES]
        if others:
            expected = f"features as the only input of {kind}"
            fix = "encode categories as onehot, or use dense"
            yield Problem("", expected, f"the inputs {', '.join(others)}, too", fix, key)


def principal_components(
    features: Float32Array, components: int
) -> tuple[Float32Array, Float32Array]:
    """Return the kernel (d, components) and the bias (components,) of a projection.

    Outputs for the rows have a mean of 0 and a standard deviation of 1; those along which the rows do
    not vary are always 0. The largest entry of each component is positive.

    Args:
        features: (n, d); n at least 1.
        components: Their number, at most d.
    """
    x = np.asarray(features[:: -(-len(features) // MAX_ROWS)], np.float64)
    mean = x.mean(axis=0)
    x = x - mean
    variances, vectors = np.linalg.eigh(x.T @ x / len(x))
    # In ascending order.
    vectors = vectors[:, ::-1][:, :components]
    std = np.sqrt(np.maximum(variances[::-1][:components], 0.0))
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    varies = std > _MIN_STD * std[0]
    kernel = vectors * np.where(varies, np.sign(largest) / np.where(varies, std, 1.0), 0.0)
    return kernel.astype(np.float32), -(mean @ kernel).astype(np.float32)


def set_principal_components(network: Any, features: InputArray) -> None:
    """Set the first layer of a Keras network to the principal components of features (n, d)."""
    layer = network.get_layer(PrincipalComponents.kind)
    kernel, bias = principal_components(np.asarray(features[:]), layer.units)
    layer.kernel.assign(kernel)
    layer.bias.assign(bias)
