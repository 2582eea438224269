"""Exponential moving average of the weights, used in place of the weights for evaluation.

Keras overwrites the weights with their averages at the end of training. Here validation and the best
model use the averages at every epoch, and training continues from the weights.
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


def use_averages_in_graph(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> list[Any]:
    """Replace the weights with their averages if the optimizer keeps any; for use in a `tf.function`.

    Returns:
        The original weights, in the order of `network.trainable_variables`, to be assigned back;
        empty if nothing was changed.
    """
    if not _uses_averages(optimizer):
        return []
    variables = network.trainable_variables
    weights = [tf.identity(variable.value) for variable in variables]
    optimizer.finalize_variable_values(variables)
    return weights


@contextmanager
def averaged_weights(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Context manager that replaces the trainable weights with their averages, if there are any."""
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
