"""The training loop: a generator of epochs.

It trains, validates, decides and yields; disk, screen and clock stay with whoever consumes it.
Stopping early is a reason in the last result, never an exception.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import keras
import numpy as np

from trainer.data.samples import Samples
from trainer.engine.batches import Pass
from trainer.engine.callbacks import Callbacks
from trainer.engine.monitors import Monitors
from trainer.engine.outcome import Outcome
from trainer.engine.pace import Pace
from trainer.errors import DivergedError, Problem

Measure = Callable[[Pass, Samples], dict[str, float]]
"""The metrics of a pass over samples."""


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one epoch gave.

    Attributes:
        epoch: Its number, from 1.
        step: Batches trained so far.
        learning_rate: At the end of the epoch.
        measures: `loss`, metrics, and the same of the validation rows as `val_…`.
        improved: It is the best epoch so far.
        seconds: Wall-clock time of training and validation.
        stop: Why training ends with this epoch, or None.
    """

    epoch: int
    step: int
    learning_rate: float
    measures: dict[str, float]
    improved: bool
    seconds: float
    stop: str | None


@dataclass(slots=True)
class Training:
    """A network in training.

    Attributes:
        network: Holds the weights of the latest epoch.
        optimizer: Holds their slots.
        pace: Takes the network from epoch to epoch.
        train: The rows that are trained on.
        validation: The rows each epoch is judged by, or None.
        measure: Computes the metrics of a pass.
        monitors: The decisions.
        monitor: The measure that says which epoch is best.
        total_steps: Batches after which training is done.
        keep_last: The latest epoch counts as the best.
        callbacks: Of the user's own; epochs then come one by one.
        best_weights: Weights of the best epoch (averages, where the optimizer keeps them).
        best_epoch: Its number.
        epoch: The latest epoch done.
        step: Batches done.
        interrupted: Training ended because it was asked to, not because it was done.
    """

    network: keras.Sequential
    optimizer: keras.optimizers.Optimizer
    pace: Pace
    train: Samples
    validation: Samples | None
    measure: Measure
    monitors: Monitors
    monitor: str
    total_steps: int
    keep_last: bool = False
    callbacks: Callbacks | None = None
    best_weights: list[Any] = field(default_factory=list)
    best_epoch: int = 0
    epoch: int = 0
    step: int = 0
    interrupted: bool = False

    def settle(self) -> None:
        """Let network and optimizer stand at the end of the latest epoch that was yielded.

        Epochs may have been run ahead; whoever reads their variables calls this first.
        """
        self.pace.settle(self.epoch)


def fit(training: Training, interrupted: Callable[[], str | None]) -> Iterator[EpochResult]:
    """Train until all steps are done, a decision says stop, or `interrupted` gives a reason.

    Args:
        training: Changed in place; after each result `training.settle()` lets its network and
            optimizer stand at the end of that epoch.
        interrupted: Asked once an epoch.

    Raises:
        DivergedError: The training loss is not finite; `training` keeps the best weights.
    """
    stop: str | None = None
    if training.callbacks is not None:
        training.callbacks.begin()
    while stop is None:
        started = perf_counter()
        if training.callbacks is not None:
            training.callbacks.epoch_begin(training.epoch + 1)
        outcome = training.pace.next(training.epoch + 1, training.total_steps - training.step)
        training.epoch += 1
        training.step += outcome.trained.steps
        if not math.isfinite(outcome.trained.loss):
            training.settle()
            raise DivergedError(_diverged(training, outcome.trained.loss))
        measures = _measures(training, outcome)
        improved = training.monitors.best.update(training.epoch, measures[training.monitor])
        improved = improved or training.keep_last or not training.best_weights
        if improved:
            training.best_epoch = training.epoch
            training.best_weights = outcome.weights()
        stop = _decide(training, measures, outcome.learning_rate)
        if training.callbacks is not None:
            told = {**measures, "learning_rate": outcome.learning_rate}
            stop = training.callbacks.epoch_end(training.epoch, told) or stop
        if stop is None:
            stop = interrupted()
            training.interrupted = stop is not None
        if stop is not None:
            training.settle()
        yield EpochResult(
            training.epoch,
            training.step,
            outcome.learning_rate,
            measures,
            improved,
            perf_counter() - started,
            stop,
        )
    if training.callbacks is not None:
        training.callbacks.end()


def _measures(training: Training, outcome: Outcome) -> dict[str, float]:
    trained, judged = outcome.trained, outcome.judged
    measures = {"loss": trained.loss, **training.measure(trained, training.train)}
    if judged is not None:
        assert training.validation is not None
        measures["val_loss"] = judged.loss
        metrics = training.measure(judged, training.validation)
        measures.update({f"val_{name}": value for name, value in metrics.items()})
    return measures


def _decide(training: Training, measures: dict[str, float], learning_rate: float) -> str | None:
    stopper, plateau = training.monitors.stopper, training.monitors.plateau
    if plateau is not None:
        lowered = plateau.update(measures[plateau.settings.monitor], learning_rate)
        if lowered != learning_rate:
            training.settle()
            training.optimizer.learning_rate = lowered
    reason = None
    if stopper is not None:
        reason = stopper.update(training.epoch, measures[stopper.settings.monitor])
    if training.step >= training.total_steps:
        return "all epochs done"
    return reason


def _diverged(training: Training, loss: float) -> Problem:
    broken = [
        variable.path
        for variable in training.network.variables
        if not np.all(np.isfinite(np.asarray(variable.numpy(), dtype=np.float64)))
    ]
    place = f"; the first weights that are not finite: {broken[0]}" if broken else ""
    return Problem(
        where=f"epoch {training.epoch}",
        expected="a finite loss",
        found=f"{loss}{place}",
        fix="lower optimizer.learning_rate, set optimizer.clip_norm: 1.0, or scale the features",
    )
