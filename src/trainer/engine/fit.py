"""The training loop: a generator of epochs.

It trains, validates, applies the decisions and yields events; its consumer writes files and output.
Stopping early is a reason in the last event, never an exception.
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
"""Computes the metrics of an output for its samples."""


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


@dataclass(slots=True)
class Training:
    """A network and everything that its training needs.

    Attributes:
        network: The network, with the weights of the latest epoch.
        optimizer: The optimizer, with its variables.
        train_step: Runs training steps; holds the running mean of the loss within an epoch.
        executor: Runs epochs.
        train: The training rows.
        validation: The validation rows, or None.
        compute_metrics: Computes the metrics of an output.
        monitors: State of best epoch, early stopping and learning-rate reduction.
        monitor: The metric that determines the best epoch.
        total_steps: Number of batches to train.
        keep_last: Whether the latest epoch counts as the best.
        callbacks: User-defined callbacks; epochs then run one at a time.
        rollback: Rollbacks when the loss is not finite; None to stop instead.
        max_seconds: Maximum training time.
        advice: Suggested fixes when the loss is not finite.
        best_weights: Weights of the best epoch (averages, if the optimizer keeps them).
        best_epoch: Number of the best epoch.
        epoch: The latest completed epoch.
        step: Batches trained by the end of it.
        partial_epoch: Output so far of the next epoch, or None.
        start_time: Start of training by `perf_counter`, moved back by the training time of earlier
            processes.
        stop_reason: Why training has ended, or None.
        interrupted: Whether it ended by request rather than because it was complete.
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
    start_time: float = field(default_factory=perf_counter)
    stop_reason: str | None = None
    interrupted: bool = False

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

    def check_stop(self) -> str | None:
        """Return why training should end now, or None."""
        if self.step >= self.total_steps:
            return "all epochs done"
        reason = (
            self.monitors.early_stopping.reason()
            if self.monitors.early_stopping is not None
            else None
        )
        if reason is None and self.seconds >= self.max_seconds:
            reason = f"fit.max_seconds: {self.max_seconds:g} seconds have passed"
        return reason


def fit(training: Training, interrupted: Callable[[], str | None]) -> Iterator[Event]:
    """Train until all steps are done, early stopping applies, or `interrupted` returns a reason.

    Yields nothing if training has already ended.

    Args:
        training: Changed in place. After each event, `training.sync_variables()` sets its network and
            optimizer to the end of that epoch.
        interrupted: Called about once a second and at the end of each epoch.

    Raises:
        DivergedError: The training loss is not finite; `training` keeps the best weights.
    """
    training.stop_reason = training.stop_reason or training.check_stop()
    if training.callbacks is not None and training.stop_reason is None:
        training.callbacks.on_train_begin()
    while training.stop_reason is None:
        started = perf_counter()
        if training.callbacks is not None and training.partial_epoch is None:
            training.callbacks.on_epoch_begin(training.epoch + 1)
        if training.rollback is not None and training.partial_epoch is None:
            training.rollback.start_state = get_state(training.network, training.optimizer)
        result = yield from _through_epoch(training, interrupted)
        if result is None:
            break
        if _is_diverged(training, result):
            yield _roll_back(training, result.train)
            continue
        training.partial_epoch = None
        training.epoch += 1
        training.step += result.train.steps
        metrics = _compute_metrics(training, result)
        improved = training.monitors.best.update(training.epoch, metrics[training.monitor])
        improved = improved or training.keep_last or not training.best_weights
        if improved:
            training.best_epoch = training.epoch
            training.best_weights = result.weights()
        _decide(training, metrics, result.learning_rate)
        stop = training.check_stop()
        if training.callbacks is not None:
            logs = {**metrics, "learning_rate": result.learning_rate}
            stop = training.callbacks.on_epoch_end(training.epoch, logs) or stop
        if stop is None:
            stop = interrupted()
            training.interrupted = stop is not None
        training.stop_reason = stop
        if stop is not None:
            training.sync_variables()
            if _nonfinite_variable(training):
                problem = _divergence(training, result.train, training.epoch, training.step)
                raise DivergedError(problem)
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
        training.callbacks.on_train_end()


def _through_epoch(
    training: Training, interrupted: Callable[[], str | None]
) -> Generator[StepCheckpoint, None, EpochResult | None]:
    """Run one epoch, or the rest of it; return None if training ends within it."""
    steps_left = training.total_steps - training.step
    epoch = training.executor.run_epoch(training.epoch + 1, steps_left, training.partial_epoch)
    calls = 0 if training.partial_epoch is None else 1
    while True:
        try:
            partial_epoch = next(epoch)
        except StopIteration as end:
            result: EpochResult = end.value
            return result
        if partial_epoch is not None:
            training.partial_epoch = partial_epoch
            calls += 1
            is_complete = (
                partial_epoch.rows == len(training.train.x) or partial_epoch.steps == steps_left
            )
            # No stop within an epoch of one call, or before a loss that is not finite is reported.
            if (is_complete and calls == 1) or partial_epoch.diverged:
                continue
        stop = interrupted()
        training.interrupted = stop is not None
        if stop is None and training.seconds >= training.max_seconds:
            stop = training.check_stop()
        if stop is not None:
            # During validation, closing restores the weights in place of their averages.
            epoch.close()
            training.stop_reason = stop
        if stop is not None or partial_epoch is not None:
            yield StepCheckpoint(training.epoch + 1, training.trained_steps, stop)
        if stop is not None:
            return None


def _compute_metrics(training: Training, result: EpochResult) -> dict[str, float]:
    trained, validated = result.train, result.validation
    metrics = {"loss": trained.loss, **training.compute_metrics(trained, training.train)}
    if validated is not None:
        assert training.validation is not None
        metrics["val_loss"] = validated.loss
        val_metrics = training.compute_metrics(validated, training.validation)
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
    if not math.isfinite(result.train.loss):
        return True
    # The last step can produce weights that are not finite after a finite loss. A validation loss that
    # is not finite can also come from the validation rows.
    return (
        result.validation is not None
        and not math.isfinite(result.validation.loss)
        and not all(np.all(np.isfinite(weight)) for weight in result.weights())
    )


def _roll_back(training: Training, trained: EpochOutput) -> RolledBack:
    """Restore the start of the epoch and lower the learning rate.

    Raises:
        DivergedError: Rollbacks are disabled or exhausted.
    """
    step = training.step + first_nonfinite_step(trained)
    rollback = training.rollback
    if rollback is None or rollback.count >= rollback.max_rollbacks:
        # Epochs may have been run ahead; the error describes the weights at the end of this one.
        training.executor.sync_variables(training.epoch + 1)
        raise DivergedError(_divergence(training, trained, training.epoch + 1, step))
    restore(training.network, training.optimizer, rollback.start_state)
    lower_rate(training.optimizer, rollback.factor)
    rollback.count += 1
    training.partial_epoch = None
    return RolledBack(training.epoch + 1, step, float(training.optimizer.learning_rate))


def _nonfinite_variable(training: Training) -> str | None:
    """Return the name of the network's first variable with a value that is not finite."""
    variables = training.network.variables
    return first_nonfinite_variable(
        (str(variable.path), variable.numpy()) for variable in variables
    )


def _divergence(training: Training, trained: EpochOutput, epoch: int, step: int) -> Problem:
    rollbacks = training.rollback.count if training.rollback is not None else 0
    variable = _nonfinite_variable(training)
    return divergence_problem(epoch, step, trained.loss, variable, training.advice, rollbacks)
