"""The moving average of the weights: in place of the weights while a network is judged.

Keras writes the averages over the weights at the end of training; here validation and the best model
see them at every epoch, and training goes on from the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def averaged(network: keras.Sequential, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Within it the trainable weights are their moving averages, if the optimizer keeps any."""
    inner = optimizer.inner_optimizer if hasattr(optimizer, "inner_optimizer") else optimizer
    if not inner.use_ema:
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
