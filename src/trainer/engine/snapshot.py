"""All that training needs in order to go on, as plain arrays and JSON values, and back.

    network/… optimizer/…   every variable (`trainer.engine.state`)
    best/0000 …             the weights of the best epoch so far
    begun/…                 within an epoch: predictions, losses and the mean of the loss so far
    start/…                 within an epoch: every variable at its start, where training may go back

Owns: which pieces there are. Does not own: their form on disk (`trainer.runs.checkpoints`), the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.engine.batches import Begun
from trainer.engine.fit import Training
from trainer.engine.state import State, capture, restore
from trainer.errors import Problem, RunError

Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a training stands.

    Attributes:
        arrays: By name, as in the module's list.
        facts: JSON values: position and decisions; no clock, so that equal trainings have equal ones.
    """

    arrays: Arrays
    facts: Mapping[str, Any]

    @property
    def is_sound(self) -> bool:
        """Every weight is finite."""
        return all(
            np.all(np.isfinite(value))
            for name, value in self.arrays.items()
            if name.startswith("network/") and value.dtype.kind == "f"
        )


def take(training: Training) -> Snapshot:
    """Where a training stands, settled; copies."""
    arrays: State = capture(training.network, training.optimizer)
    arrays |= {
        f"best/{number:04d}": np.asarray(weight)
        for number, weight in enumerate(training.best_weights)
    }
    if training.begun is not None:
        mean = training.stepper.loss_mean.variables
        arrays |= {
            "begun/predictions": training.begun.predictions,
            "begun/losses": training.begun.losses,
            **{f"begun/mean/{number}": value.numpy() for number, value in enumerate(mean)},
        }
        if training.rewinding is not None:
            arrays |= {f"start/{name}": value for name, value in training.rewinding.start.items()}
    facts = {
        "epoch": training.epoch,
        "step": training.step,
        "steps_begun": 0 if training.begun is None else training.begun.steps,
        "best_epoch": training.best_epoch,
        "monitors": training.monitors.state(),
        "rewound": 0 if training.rewinding is None else training.rewinding.done,
        "stopped_because": None if training.interrupted else training.ended,
    }
    return Snapshot(arrays, facts)


def put_back(training: Training, snapshot: Snapshot) -> None:
    """Let a training stand where the snapshot was taken.

    Raises:
        RunError: The snapshot is not of this network and optimizer, or lacks a piece.
    """
    arrays, facts = snapshot.arrays, snapshot.facts
    try:
        restore(training.network, training.optimizer, _part(arrays, ("network/", "optimizer/")))
        training.monitors.restore(facts["monitors"])
        training.epoch, training.step = facts["epoch"], facts["step"]
        training.best_epoch = facts["best_epoch"]
        training.best_weights = [
            value for name, value in sorted(arrays.items()) if name.startswith("best/")
        ]
        training.ended = facts["stopped_because"]
        if training.rewinding is not None:
            training.rewinding.done = facts["rewound"]
            training.rewinding.start = {
                name.removeprefix("start/"): value
                for name, value in _part(arrays, ("start/",)).items()
            }
        training.begun, training.interrupted = None, False
        if facts["steps_begun"]:
            training.begun = Begun(arrays["begun/predictions"], arrays["begun/losses"])
            for number, variable in enumerate(training.stepper.loss_mean.variables):
                variable.assign(arrays[f"begun/mean/{number}"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            Problem(
                "checkpoint",
                "the whole state of a training",
                f"{type(error).__name__}: {error}",
                "take the checkpoint from a copy of the run",
            )
        ) from error


def _part(arrays: Arrays, beginnings: tuple[str, ...]) -> State:
    return {name: value for name, value in arrays.items() if name.startswith(beginnings)}
