"""State of network and optimizer as plain arrays.

Covers every variable: weights, normalization statistics, seed generators (which `.keras` files omit),
optimizer variables, iterations, averages, loss scale and the scale of a schedule.
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


def get_state(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> State:
    """Return copies of all variables, named `network/0000/…` and `optimizer/0000/…` in Keras's order."""
    return {name: variable.numpy().copy() for name, variable in named_variables(network, optimizer)}


def restore(
    network: keras.Model, optimizer: keras.optimizers.Optimizer, state: Mapping[str, Any]
) -> None:
    """Restore the variables from `state`.

    Raises:
        RunError: Names or shapes do not match this network and optimizer.
    """
    variables = dict(named_variables(network, optimizer))
    if set(variables) != set(state):
        different = sorted(set(variables) ^ set(state))
        raise RunError(
            Problem(
                "state.npz",
                f"the {len(variables)} variables of this network and optimizer",
                f"{len(state)} variables, which differ in {different[0]}",
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


def copy_weights(network: keras.Model) -> list[Any]:
    """Return copies of all weights that predictions depend on, in Keras's order."""
    return [weight.copy() for weight in network.get_weights()]


def named_variables(
    network: keras.Model, optimizer: keras.optimizers.Optimizer
) -> list[tuple[str, Any]]:
    """Return every variable with its name in the state."""
    # Only the last part of a variable's path is used, without the number of an unnamed variable: Keras
    # numbers the other parts by a counter of the process.
    named = [
        (f"{owner}/{number:04d}/{_base_name(variable.path)}", variable)
        for owner, variables in (("network", network.variables), ("optimizer", optimizer.variables))
        for number, variable in enumerate(variables)
    ]
    scale = schedule_scale(optimizer)
    return named if scale is None else [*named, ("optimizer/scale", scale)]


def _base_name(path: str) -> str:
    return re.sub(r"^variable_\d+$", "variable", path.rpartition("/")[2])
