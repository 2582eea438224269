"""State of networks and optimizers as plain arrays.

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
from trainer.models.weights import variable_value

State = dict[str, np.ndarray[Any, Any]]


def named_variables(
    networks: Mapping[str, keras.Model], optimizers: Mapping[str, keras.optimizers.Optimizer]
) -> dict[str, Any]:
    """Return every variable by its name in the state.

    Names are `network/0000/…` and `optimizer/0000/…`, numbered in Keras's order. If there are several
    networks, their names are inserted: `network/encoder/0000/…`, `optimizer/encoder/0000/…`.
    """
    named: dict[str, Any] = {}
    for kind, owners in (("network", networks), ("optimizer", optimizers)):
        for owner_name, owner in owners.items():
            prefix = kind if len(networks) == 1 else f"{kind}/{owner_name}"
            for number, variable in enumerate(owner.variables):
                named[f"{prefix}/{number:04d}/{_base_name(variable.path)}"] = variable
            scale = schedule_scale(owner) if kind == "optimizer" else None
            if scale is not None:
                named[f"{prefix}/scale"] = scale
    return named


def read_state(variables: Mapping[str, Any]) -> State:
    """Return the values of variables as read-only arrays, which later changes do not affect."""
    return {name: variable_value(variable) for name, variable in variables.items()}


def restore_state(variables: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Set variables to the values in `state`.

    Raises:
        RunError: Names or shapes do not match.
    """
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


def _base_name(path: str) -> str:
    """Return the last part of a variable's path, without the number of an unnamed variable.

    Keras numbers the other parts with a per-process counter.
    """
    return re.sub(r"^variable_\d+$", "variable", path.rpartition("/")[2])
