"""The state of training as plain arrays, and back.

Covers every variable: weights, statistics of normalisation, seed generators (which `.keras` files
leave out), optimizer slots, iterations, averages, loss scale and the scale of a schedule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from trainer.errors import Problem, RunError
from trainer.models.optimizers import schedule_scale

State = dict[str, np.ndarray[Any, Any]]


def get_state(network: keras.Sequential, optimizer: keras.optimizers.Optimizer) -> State:
    """Copies of all variables, by `network/0000/…` and `optimizer/0000/…` in Keras's order."""
    return {name: variable.numpy().copy() for name, variable in named_variables(network, optimizer)}


def restore(
    network: keras.Sequential, optimizer: keras.optimizers.Optimizer, state: Mapping[str, Any]
) -> None:
    """Put captured arrays back.

    Raises:
        RunError: Names or shapes are not those of this network and optimizer.
    """
    variables = dict(named_variables(network, optimizer))
    if set(variables) != set(state):
        other = sorted(set(variables) ^ set(state))
        raise RunError(
            Problem(
                "state.npz",
                f"the {len(variables)} variables of this network and optimizer",
                f"{len(state)}, which differ in {other[0]}",
                "resume with the config of the run",
            )
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != state[name].shape:
            raise RunError(
                Problem(
                    "state.npz",
                    f"{name} of shape {tuple(variable.shape)}",
                    str(state[name].shape),
                    "resume with the config of the run",
                )
            )
        variable.assign(state[name])


def copy_weights(network: keras.Sequential) -> list[Any]:
    """Copies of all weights that predictions depend on, in Keras's order."""
    return [weight.copy() for weight in network.get_weights()]


def named_variables(
    network: keras.Sequential, optimizer: keras.optimizers.Optimizer
) -> list[tuple[str, Any]]:
    """Every variable with the name that its value is kept under."""
    # Only the last part of a variable's path, and that without a number where it has no name of its own:
    # Keras counts the others up in a process.
    named = [
        (f"{owner}/{number:04d}/{_own_name(variable.path)}", variable)
        for owner, variables in (("network", network.variables), ("optimizer", optimizer.variables))
        for number, variable in enumerate(variables)
    ]
    scale = schedule_scale(optimizer)
    return named if scale is None else [*named, ("optimizer/scale", scale)]


def _own_name(path: str) -> str:
    return re.sub(r"^variable_\d+$", "variable", path.rpartition("/")[2])
