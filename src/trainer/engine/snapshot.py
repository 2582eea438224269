"""Snapshots: the complete state of training as plain arrays and JSON values.

    network/… optimizer/…   every variable (`trainer.engine.state`)
    compression/…           latent weights, masks and clusters (`trainer.engine.compression`)
    best/0000 …             the weights of the best epoch so far
    begun/…                 within an epoch: predictions, losses and the running mean of the loss
    start/…                 within an epoch: every variable at its start, if rollbacks are enabled
    callbacks/…             array attributes of user-defined callbacks

`trainer.runs.checkpoints` writes and reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.engine.state import State

NamedArrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The complete state of training.

    Attributes:
        arrays: Arrays by name, as listed in the module docstring.
        metadata: JSON values: progress and monitors. No clock times, so that equal runs have equal
            snapshots.
    """

    arrays: NamedArrays
    metadata: Mapping[str, Any]

    @property
    def is_finite(self) -> bool:
        """Whether every weight is finite."""
        return all(
            np.all(np.isfinite(value))
            for name, value in self.arrays.items()
            if name.startswith("network/") and value.dtype.kind == "f"
        )


def best_weight_arrays(weights: Sequence[Any]) -> State:
    """Return the weights of the best epoch by name."""
    return {f"best/{number:04d}": np.asarray(weight) for number, weight in enumerate(weights)}


def best_weights_from(arrays: NamedArrays) -> list[np.ndarray[Any, Any]]:
    """Return the weights of the best epoch in Keras's order; empty before the first epoch."""
    return [value for name, value in sorted(arrays.items()) if name.startswith("best/")]


def variable_arrays(arrays: NamedArrays) -> State:
    """Return the variables of network, optimizer and compression by name."""
    prefixes = ("network/", "optimizer/", "compression/")
    return {name: value for name, value in arrays.items() if name.startswith(prefixes)}
