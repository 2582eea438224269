"""Training of a network on its own: everything that it needs, and its state."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import keras

from trainer.engine.averages import averaged_weights
from trainer.engine.batches import PartialEpoch, TrainStep
from trainer.engine.callbacks import Callbacks
from trainer.engine.executors import EpochExecutor
from trainer.engine.progress import Progress
from trainer.engine.snapshot import (
    Snapshot,
    best_weight_arrays,
    best_weights_from,
    variable_arrays,
)
from trainer.engine.state import State, copy_weights, get_state, restore
from trainer.errors import Problem, RunError


@dataclass(slots=True)
class RollbackState:
    """Settings and state of rollbacks after a loss that is not finite.

    Attributes:
        max_rollbacks: Maximum number of rollbacks.
        factor: Factor applied to the learning rate at each rollback.
        count: Number of rollbacks so far.
        start_state: All variables at the start of the epoch.
    """

    max_rollbacks: int
    factor: float
    count: int = 0
    start_state: State = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Training(Progress):
    """A network on its own and everything that its training needs.

    Attributes:
        network: The network, with the weights of the latest epoch.
        optimizer: The optimizer, with its variables.
        train_step: Runs training steps; holds the running mean of the loss within an epoch.
        executor: Runs epochs.
        callbacks: User-defined callbacks; epochs then run one at a time.
        rollback: Rollbacks when the loss is not finite; None to stop instead.
        max_seconds: Maximum training time.
        partial_epoch: Output so far of the next epoch, or None.
        start_time: Start of training by `perf_counter`, moved back by the training time of earlier
            processes.
    """

    network: keras.Sequential
    optimizer: keras.optimizers.Optimizer
    train_step: TrainStep
    executor: EpochExecutor
    callbacks: Callbacks | None = None
    rollback: RollbackState | None = None
    max_seconds: float = math.inf
    partial_epoch: PartialEpoch | None = None
    start_time: float = field(default_factory=perf_counter)

    @property
    def trained_steps(self) -> int:
        """Batches trained, including those of an unfinished epoch."""
        return self.step + (0 if self.partial_epoch is None else self.partial_epoch.steps)

    @property
    def seconds(self) -> float:
        """Training time so far, over all processes."""
        return perf_counter() - self.start_time

    def sync_variables(self) -> None:
        """Set network and optimizer to the end of the latest yielded epoch.

        Epochs may have been run ahead: call this before reading any variables.
        """
        self.executor.sync_variables(self.epoch)

    def evaluation_weights(self) -> list[Any]:
        """Return the weights to evaluate (averages, if any), after syncing the variables."""
        self.sync_variables()
        with averaged_weights(self.network, self.optimizer):
            return copy_weights(self.network)

    def snapshot(self) -> Snapshot:
        """Return a copy of the current state, after syncing the variables to it."""
        self.sync_variables()
        arrays: State = get_state(self.network, self.optimizer)
        arrays |= best_weight_arrays(self.best_weights)
        if self.partial_epoch is not None:
            mean = self.train_step.loss_mean.variables
            arrays |= {
                "begun/predictions": self.partial_epoch.predictions,
                "begun/losses": self.partial_epoch.losses,
                **{f"begun/mean/{number}": value.numpy() for number, value in enumerate(mean)},
            }
            if self.rollback is not None:
                start = self.rollback.start_state
                arrays |= {f"start/{name}": value for name, value in start.items()}
        if self.callbacks is not None:
            arrays |= self.callbacks.array_states()
        metadata = self.metadata(
            callbacks=[] if self.callbacks is None else self.callbacks.json_states(),
            partial_steps=0 if self.partial_epoch is None else self.partial_epoch.steps,
            rollbacks=0 if self.rollback is None else self.rollback.count,
        )
        return Snapshot(arrays, metadata)

    def restore_snapshot(self, snapshot: Snapshot) -> None:
        """Restore the state to a snapshot.

        Raises:
            RunError: The snapshot does not match this network and optimizer, or is incomplete.
        """
        arrays, metadata = snapshot.arrays, snapshot.metadata
        try:
            restore(self.network, self.optimizer, variable_arrays(arrays))
            self.restore(metadata, best_weights_from(arrays))
            if self.rollback is not None:
                self.rollback.count = metadata["rewound"]
                self.rollback.start_state = {
                    name.removeprefix("start/"): value
                    for name, value in arrays.items()
                    if name.startswith("start/")
                }
            if self.callbacks is not None:
                self.callbacks.restore(metadata["callbacks"], arrays)
            self.partial_epoch = None
            if metadata["steps_begun"]:
                self.partial_epoch = PartialEpoch(
                    arrays["begun/predictions"], arrays["begun/losses"]
                )
                for number, variable in enumerate(self.train_step.loss_mean.variables):
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

    def check_stop(self) -> str | None:
        """Return why training should end now, or None."""
        # `super()` does not work in a dataclass with slots before Python 3.14.
        reason = Progress.check_stop(self)
        if reason is None and self.seconds >= self.max_seconds:
            reason = f"fit.max_seconds: {self.max_seconds:g} seconds have passed"
        return reason
