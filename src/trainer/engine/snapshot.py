"""Snapshots: the complete state of training as plain arrays and JSON values.

    network/… optimizer/…   every variable (`trainer.engine.state`)
    best/0000 …             the weights of the best epoch so far
    begun/…                 within an epoch: predictions, losses and the running mean of the loss
    start/…                 within an epoch: every variable at its start, if rollbacks are enabled
    callbacks/…             array attributes of user-defined callbacks

`trainer.runs.checkpoints` writes and reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from trainer.engine.averages import averaged_weights
from trainer.engine.batches import PartialEpoch
from trainer.engine.fit import Training
from trainer.engine.state import State, copy_weights, get_state, restore
from trainer.errors import Problem, RunError

NamedArrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The complete state of training.

    Attributes:
        arrays: Arrays by name, as listed in the module docstring.
        metadata: JSON values: progress and monitors. No clock times, so that equal trainings have equal
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


class Checkpointable(Protocol):
    """A training whose state can be checkpointed: a single network or a member of a pack."""

    @property
    def epoch(self) -> int:
        """The latest completed epoch."""
        ...

    @property
    def trained_steps(self) -> int:
        """Batches trained."""
        ...

    @property
    def best_epoch(self) -> int:
        """The best epoch so far; 0 before the first."""
        ...

    @property
    def best_weights(self) -> list[Any]:
        """Weights of the best epoch, in Keras's order."""
        ...

    def snapshot(self) -> Snapshot:
        """Return the current state."""
        ...

    def evaluation_weights(self) -> list[Any]:
        """Return the weights that would be evaluated now (averages, if any), in Keras's order."""
        ...


class CheckpointableTraining:
    """Adapter that makes the training of a single network checkpointable."""

    def __init__(self, training: Training) -> None:
        self._training = training

    @property
    def epoch(self) -> int:
        return self._training.epoch

    @property
    def trained_steps(self) -> int:
        return self._training.trained_steps

    @property
    def best_epoch(self) -> int:
        return self._training.best_epoch

    @property
    def best_weights(self) -> list[Any]:
        return self._training.best_weights

    def snapshot(self) -> Snapshot:
        """Return the current state, after syncing network and optimizer to it."""
        self._training.sync_variables()
        return take_snapshot(self._training)

    def evaluation_weights(self) -> list[Any]:
        """Return the weights to evaluate, after syncing network and optimizer to the latest epoch."""
        self._training.sync_variables()
        with averaged_weights(self._training.network, self._training.optimizer):
            return copy_weights(self._training.network)


def take_snapshot(training: Training) -> Snapshot:
    """Return a copy of the state of a training; its variables have to be in sync."""
    arrays: State = get_state(training.network, training.optimizer)
    arrays |= best_weight_arrays(training.best_weights)
    if training.partial_epoch is not None:
        mean = training.train_step.loss_mean.variables
        arrays |= {
            "begun/predictions": training.partial_epoch.predictions,
            "begun/losses": training.partial_epoch.losses,
            **{f"begun/mean/{number}": value.numpy() for number, value in enumerate(mean)},
        }
        if training.rollback is not None:
            arrays |= {
                f"start/{name}": value for name, value in training.rollback.start_state.items()
            }
    if training.callbacks is not None:
        arrays |= training.callbacks.array_states()
    metadata = training.metadata(
        callbacks=[] if training.callbacks is None else training.callbacks.json_states(),
        partial_steps=0 if training.partial_epoch is None else training.partial_epoch.steps,
        rollbacks=0 if training.rollback is None else training.rollback.count,
    )
    return Snapshot(arrays, metadata)


def restore_snapshot(training: Training, snapshot: Snapshot) -> None:
    """Restore a training to a snapshot.

    Raises:
        RunError: The snapshot does not match this network and optimizer, or is incomplete.
    """
    arrays, metadata = snapshot.arrays, snapshot.metadata
    try:
        restore(training.network, training.optimizer, variable_arrays(arrays))
        training.restore(metadata, best_weights_from(arrays))
        if training.rollback is not None:
            training.rollback.count = metadata["rewound"]
            training.rollback.start_state = {
                name.removeprefix("start/"): value
                for name, value in _with_prefix(arrays, ("start/",)).items()
            }
        if training.callbacks is not None:
            training.callbacks.restore(metadata["callbacks"], arrays)
        training.partial_epoch = None
        if metadata["steps_begun"]:
            training.partial_epoch = PartialEpoch(
                arrays["begun/predictions"], arrays["begun/losses"]
            )
            for number, variable in enumerate(training.train_step.loss_mean.variables):
                variable.assign(arrays[f"begun/mean/{number}"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            Problem(
                "checkpoint",
                "the complete state of training",
                f"{type(error).__name__}: {error}",
                "restore the checkpoint from a copy of the run",
            )
        ) from error


def best_weight_arrays(weights: Sequence[Any]) -> State:
    """Return the weights of the best epoch by name."""
    return {f"best/{number:04d}": np.asarray(weight) for number, weight in enumerate(weights)}


def best_weights_from(arrays: NamedArrays) -> list[np.ndarray[Any, Any]]:
    """Return the weights of the best epoch in Keras's order; empty before the first epoch."""
    return [value for name, value in sorted(arrays.items()) if name.startswith("best/")]


def variable_arrays(arrays: NamedArrays) -> State:
    """Return the variables of network and optimizer by name."""
    return _with_prefix(arrays, ("network/", "optimizer/"))


def _with_prefix(arrays: NamedArrays, prefixes: tuple[str, ...]) -> State:
    return {name: value for name, value in arrays.items() if name.startswith(prefixes)}
