"""All that training needs in order to go on, as plain arrays and JSON values, and back.

    network/… optimizer/…   every variable (`trainer.engine.state`)
    best/0000 …             the weights of the best epoch so far
    begun/…                 within an epoch: predictions, losses and the mean of the loss so far
    start/…                 within an epoch: every variable at its start, where training may go back
    callbacks/…             arrays that callbacks of the user's own remember

Owns: which pieces there are. Does not own: their form on disk (`trainer.runs.checkpoints`), the log.
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
    """Where a training stands.

    Attributes:
        arrays: By name, as in the module's list.
        facts: JSON values: position and decisions; no clock, so that equal trainings have equal ones.
    """

    arrays: NamedArrays
    facts: Mapping[str, Any]

    @property
    def is_finite(self) -> bool:
        """Every weight is finite."""
        return all(
            np.all(np.isfinite(value))
            for name, value in self.arrays.items()
            if name.startswith("network/") and value.dtype.kind == "f"
        )


class Checkpointable(Protocol):
    """A training whose state is written down: one alone, or a member of a pack."""

    @property
    def epoch(self) -> int:
        """The latest epoch done."""
        ...

    @property
    def position(self) -> int:
        """Batches trained."""
        ...

    @property
    def best_epoch(self) -> int:
        """The best epoch so far; 0 before the first."""
        ...

    @property
    def best_weights(self) -> list[Any]:
        """Its weights, in Keras's order."""
        ...

    def snapshot(self) -> Snapshot:
        """Where it stands."""
        ...

    def evaluation_weights(self) -> list[Any]:
        """The weights that it would be judged by, in Keras's order."""
        ...


class CheckpointableTraining:
    """A training of its own, as it is recorded."""

    def __init__(self, training: Training) -> None:
        self._training = training

    @property
    def epoch(self) -> int:
        """As in `Checkpointable`."""
        return self._training.epoch

    @property
    def position(self) -> int:
        """As in `Checkpointable`."""
        return self._training.position

    @property
    def best_epoch(self) -> int:
        """As in `Checkpointable`."""
        return self._training.best_epoch

    @property
    def best_weights(self) -> list[Any]:
        """As in `Checkpointable`."""
        return self._training.best_weights

    def snapshot(self) -> Snapshot:
        """As in `Checkpointable`; network and optimizer stand there afterwards."""
        self._training.sync_variables()
        return take_snapshot(self._training)

    def evaluation_weights(self) -> list[Any]:
        """As in `Checkpointable`; network and optimizer stand there afterwards."""
        self._training.sync_variables()
        with averaged_weights(self._training.network, self._training.optimizer):
            return copy_weights(self._training.network)


def take_snapshot(training: Training) -> Snapshot:
    """Where a training stands, settled; copies."""
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
            arrays |= {f"start/{name}": value for name, value in training.rollback.start.items()}
    if training.callbacks is not None:
        arrays |= training.callbacks.arrays()
    facts = {
        "epoch": training.epoch,
        "step": training.step,
        "callbacks": [] if training.callbacks is None else training.callbacks.json_states(),
        "steps_begun": 0 if training.partial_epoch is None else training.partial_epoch.steps,
        "best_epoch": training.best_epoch,
        "monitors": training.monitors.state(),
        "rewound": 0 if training.rollback is None else training.rollback.done,
        "stopped_because": None if training.interrupted else training.ended,
    }
    return Snapshot(arrays, facts)


def restore_snapshot(training: Training, snapshot: Snapshot) -> None:
    """Let a training stand where the snapshot was taken.

    Raises:
        RunError: The snapshot is not of this network and optimizer, or lacks a piece.
    """
    arrays, facts = snapshot.arrays, snapshot.facts
    try:
        restore(training.network, training.optimizer, variable_arrays(arrays))
        training.monitors.restore(facts["monitors"])
        training.epoch, training.step = facts["epoch"], facts["step"]
        training.best_epoch = facts["best_epoch"]
        training.best_weights = best_weights_from(arrays)
        training.ended = facts["stopped_because"]
        if training.rollback is not None:
            training.rollback.done = facts["rewound"]
            training.rollback.start = {
                name.removeprefix("start/"): value
                for name, value in _part(arrays, ("start/",)).items()
            }
        if training.callbacks is not None:
            training.callbacks.restore(facts["callbacks"], arrays)
        training.partial_epoch, training.interrupted = None, False
        if facts["steps_begun"]:
            training.partial_epoch = PartialEpoch(
                arrays["begun/predictions"], arrays["begun/losses"]
            )
            for number, variable in enumerate(training.train_step.loss_mean.variables):
                variable.assign(arrays[f"begun/mean/{number}"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            Problem(
                "checkpoint",
                "the whole state of a training",
                f"{type(error).__name__}: {error}",
                "take the checkpoint from a copy of the run",
            )
        ) from error


def best_weight_arrays(weights: Sequence[Any]) -> State:
    """The weights of the best epoch by name."""
    return {f"best/{number:04d}": np.asarray(weight) for number, weight in enumerate(weights)}


def best_weights_from(arrays: NamedArrays) -> list[np.ndarray[Any, Any]]:
    """The weights of the best epoch in Keras's order; none before the first epoch."""
    return [value for name, value in sorted(arrays.items()) if name.startswith("best/")]


def variable_arrays(arrays: NamedArrays) -> State:
    """Every variable of network and optimizer by name."""
    return _part(arrays, ("network/", "optimizer/"))


def _part(arrays: NamedArrays, beginnings: tuple[str, ...]) -> State:
    return {name: value for name, value in arrays.items() if name.startswith(beginnings)}
