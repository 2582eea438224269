"""The moving average of the weights: in place of the weights while a network is judged.

Keras writes the averages over the weights at the end of training; here validation and the best model
see them at every epoch, and training goes on from the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


def _uses_averages(optimizer: keras.optimizers.Optimizer) -> bool:
    inner = optimizer.inner_optimizer if hasattr(optimizer, "inner_optimizer") else optimizer
    return bool(inner.use_ema)


def use_averages_in_graph(
    network: keras.Sequential, optimizer: keras.optimizers.Optimizer
) -> list[Any]:
    """Inside a program: put the averages in the weights' place, if the optimizer keeps any.

    Returns:
        The weights themselves, in the order of `network.trainable_variables`, to be assigned back;
        empty when nothing was changed.
    """
    if not _uses_averages(optimizer):
        return []
    variables = network.trainable_variables
    own = [tf.identity(variable.value) for variable in variables]
    optimizer.finalize_variable_values(variables)
    return own


@contextmanager
def averaged_weights(
    network: keras.Sequential, optimizer: keras.optimizers.Optimizer
) -> Iterator[None]:
    """Within it the trainable weights are their moving averages, if the optimizer keeps any."""
    if not _uses_averages(optimizer):
        yield
        return
    variables = network.trainable_variables
    weights = [variable.numpy() for variable in variables]
    optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, weight in zip(variables, weights, strict=True):
            variable.assign(weight)
