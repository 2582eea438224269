"""The training loop: a generator of epochs.

It trains, validates, decides and yields; disk and screen stay with whoever consumes it. Stopping early
is a reason in the last result, never an exception.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import keras
import numpy as np

from trainer.data.samples import Samples
from trainer.engine.batches import EpochOutput, PartialEpoch, TrainStep
from trainer.engine.callbacks import Callbacks
from trainer.engine.divergence import (
    DivergenceAdvice,
    divergence_problem,
    first_nonfinite_step,
    first_nonfinite_variable,
)
from trainer.engine.epoch_result import EpochResult
from trainer.engine.events import EpochEnd, Event, RolledBack, StepCheckpoint
from trainer.engine.executors import EpochExecutor
from trainer.engine.monitors import Monitors
from trainer.engine.state import State, get_state, restore
from trainer.errors import DivergedError, Problem
from trainer.models.optimizers import lower_rate

MetricFunction = Callable[[EpochOutput, Samples], dict[str, float]]
"""The metrics of a pass over samples."""


@dataclass(slots=True)
class RollbackState:
    """What is done about a loss that is not finite.

    Attributes:
        limit: So many times training goes back.
        factor: What the learning rate is multiplied by each time.
        done: How often it went back.
        start: All variables at the start of the epoch.
    """

    limit: int
    factor: float
    done: int = 0
    start: State = field(default_factory=dict)


@dataclass(slots=True)
class Training:
    """A network in training.

    Attributes:
        network: Holds the weights of the latest epoch.
        optimizer: Holds their slots.
        train_step: Trains them; holds the mean of the loss within an epoch.
        executor: Takes the network from epoch to epoch.
        train: The rows that are trained on.
        validation: The rows each epoch is judged by, or None.
        compute_metrics: Computes the metrics of a pass.
        monitors: The decisions.
        monitor: The measure that says which epoch is best.
        total_steps: Batches after which training is done.
        keep_last: The latest epoch counts as the best.
        callbacks: Of the user's own; epochs then come one by one.
        rollback: Go back where the loss is not finite; None: stop.
        max_seconds: Training ends after so many.
        advice: What helps where the loss is not finite.
        best_weights: Weights of the best epoch (averages, where the optimizer keeps them).
        best_epoch: Its number.
        epoch: The latest epoch done.
        step: Batches done with it.
        partial_epoch: What is trained of the next epoch, or None.
        began: When training began, by `perf_counter`: so much earlier as former processes trained.
        ended: Why training has ended, or None.
        interrupted: It ended because it was asked to, not because it was done.
    """

    network: keras.Sequential
    optimizer: keras.optimizers.Optimizer
    train_step: TrainStep
    executor: EpochExecutor
    train: Samples
    validation: Samples | None
    compute_metrics: MetricFunction
    monitors: Monitors
    monitor: str
    total_steps: int
    keep_last: bool = False
    callbacks: Callbacks | None = None
    rollback: RollbackState | None = None
    max_seconds: float = math.inf
    advice: DivergenceAdvice = field(default_factory=DivergenceAdvice)
    best_weights: list[Any] = field(default_factory=list)
    best_epoch: int = 0
    epoch: int = 0
    step: int = 0
    partial_epoch: PartialEpoch | None = None
    began: float = field(default_factory=perf_counter)
    ended: str | None = None
    interrupted: bool = False

    @property
    def position(self) -> int:
        """Batches trained, those of an epoch in part included."""
        return self.step + (0 if self.partial_epoch is None else self.partial_epoch.steps)

    @property
    def seconds(self) -> float:
        """Spent so far, by all processes that trained."""
        return perf_counter() - self.began

    def sync_variables(self) -> None:
        """Let network and optimizer stand at the end of the latest epoch that was yielded.

        Epochs may have been run ahead; whoever reads their variables calls this first.
        """
        self.executor.sync_variables(self.epoch)

    def check_stop(self) -> str | None:
        """Why no further batch is to be trained, by what has been trained so far."""
        if self.step >= self.total_steps:
            return "all epochs done"
        reason = (
            self.monitors.early_stopping.reason()
            if self.monitors.early_stopping is not None
            else None
        )
        if reason is None and self.seconds >= self.max_seconds:
            reason = f"fit.max_seconds: {self.max_seconds:g} seconds are over"
        return reason


def fit(training: Training, interrupted: Callable[[], str | None]) -> Iterator[Event]:
    """Train until all steps are done, a decision says stop, or `interrupted` gives a reason.

    A training that has ended before yields nothing.

    Args:
        training: Changed in place; after each result `training.sync_variables()` lets its network and
            optimizer stand at the end of that epoch.
        interrupted: Asked about once a second and at the end of each epoch.

    Raises:
        DivergedError: The training loss is not finite; `training` keeps the best weights.
    """
    training.ended = training.ended or training.check_stop()
    if training.callbacks is not None and training.ended is None:
        training.callbacks.begin()
    while training.ended is None:
        started = perf_counter()
        if training.callbacks is not None and training.partial_epoch is None:
            training.callbacks.epoch_begin(training.epoch + 1)
        if training.rollback is not None and training.partial_epoch is None:
            training.rollback.start = get_state(training.network, training.optimizer)
        result = yield from _through_epoch(training, interrupted)
        if result is None:
            break
        if _is_diverged(training, result):
            yield _rewound(training, result.trained)
            continue
        training.partial_epoch = None
        training.epoch += 1
        training.step += result.trained.steps
        metrics = _compute_metrics(training, result)
        improved = training.monitors.best.update(training.epoch, metrics[training.monitor])
        improved = improved or training.keep_last or not training.best_weights
        if improved:
            training.best_epoch = training.epoch
            training.best_weights = result.weights()
        _decide(training, metrics, result.learning_rate)
        stop = training.check_stop()
        if training.callbacks is not None:
            told = {**metrics, "learning_rate": result.learning_rate}
            stop = training.callbacks.epoch_end(training.epoch, told) or stop
        if stop is None:
            stop = interrupted()
            training.interrupted = stop is not None
        training.ended = stop
        if stop is not None:
            training.sync_variables()
            if _broken(training):
                at = (training.epoch, training.step)
                raise DivergedError(_diverged(training, result.trained, *at))
        seconds = perf_counter() - started
        yield EpochEnd(
            training.epoch,
            training.step,
            result.learning_rate,
            metrics,
            improved,
            seconds,
            stop,
        )
    if training.callbacks is not None:
        training.callbacks.end()


def _through_epoch(
    training: Training, interrupted: Callable[[], str | None]
) -> Generator[StepCheckpoint, None, EpochResult | None]:
    """One epoch, or what is left of it; None when training ends within it."""
    left = training.total_steps - training.step
    going = training.executor.next(training.epoch + 1, left, training.partial_epoch)
    calls = 0 if training.partial_epoch is None else 1
    while True:
        try:
            partial_epoch = next(going)
        except StopIteration as ended:
            result: EpochResult = ended.value
            return result
        if partial_epoch is not None:
            training.partial_epoch = partial_epoch
            calls += 1
            whole = partial_epoch.rows == len(training.train.x) or partial_epoch.steps == left
            # An epoch of one call comes to its end; so does one whose loss is to be told of.
            if (whole and calls == 1) or partial_epoch.diverged:
                continue
        stop = interrupted()
        training.interrupted = stop is not None
        if stop is None and training.seconds >= training.max_seconds:
            stop = training.check_stop()
        if stop is not None:
            # Whoever was judging puts the weights back in place of their averages.
            going.close()
            training.ended = stop
        if stop is not None or partial_epoch is not None:
            yield StepCheckpoint(training.epoch + 1, training.position, stop)
        if stop is not None:
            return None


def _compute_metrics(training: Training, result: EpochResult) -> dict[str, float]:
    trained, judged = result.trained, result.judged
    metrics = {"loss": trained.loss, **training.compute_metrics(trained, training.train)}
    if judged is not None:
        assert training.validation is not None
        metrics["val_loss"] = judged.loss
        val_metrics = training.compute_metrics(judged, training.validation)
        metrics.update({f"val_{name}": value for name, value in val_metrics.items()})
    return metrics


def _decide(training: Training, metrics: dict[str, float], learning_rate: float) -> None:
    early_stopping, reduce_lr = training.monitors.early_stopping, training.monitors.reduce_lr
    if reduce_lr is not None:
        lowered = reduce_lr.update(metrics[reduce_lr.settings.monitor], learning_rate)
        if lowered != learning_rate:
            training.sync_variables()
            training.optimizer.learning_rate = lowered
    if early_stopping is not None:
        early_stopping.update(training.epoch, metrics[early_stopping.settings.monitor])


def _is_diverged(training: Training, result: EpochResult) -> bool:
    if not math.isfinite(result.trained.loss):
        return True
    # The last step of an epoch can break weights whose loss was finite; the rows can be at fault, too.
    return (
        result.judged is not None
        and not math.isfinite(result.judged.loss)
        and not all(np.all(np.isfinite(weight)) for weight in result.weights())
    )


def _rewound(training: Training, trained: EpochOutput) -> RolledBack:
    """Back to the start of the epoch, with a lower learning rate.

    Raises:
        DivergedError: It is not to, or not again.
    """
    step = training.step + first_nonfinite_step(trained)
    rollback = training.rollback
    if rollback is None or rollback.done >= rollback.limit:
        # Epochs may have been run ahead: what is told of is the weights at the end of this one.
        training.executor.sync_variables(training.epoch + 1)
        raise DivergedError(_diverged(training, trained, training.epoch + 1, step))
    restore(training.network, training.optimizer, rollback.start)
    lower_rate(training.optimizer, rollback.factor)
    rollback.done += 1
    training.partial_epoch = None
    return RolledBack(training.epoch + 1, step, float(training.optimizer.learning_rate))


def _broken(training: Training) -> str | None:
    """The first of the network's variables with a value that is not finite."""
    return first_nonfinite_variable(
        (str(one.path), one.numpy()) for one in training.network.variables
    )


def _diverged(training: Training, trained: EpochOutput, epoch: int, step: int) -> Problem:
    rollbacks = training.rollback.done if training.rollback is not None else 0
    broken = _broken(training)
    return divergence_problem(epoch, step, trained.loss, broken, training.advice, rollbacks)
