"""The training loop: a generator of epochs.

It trains, validates, applies the decisions and yields events; its consumer writes files and output.
Stopping early is a reason in the last event, never an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from time import perf_counter

from trainer.engine.batches import EpochOutput
from trainer.engine.divergence import (
    divergence_problem,
    first_nonfinite_step,
    first_nonfinite_variable,
)
from trainer.engine.epoch_result import EpochResult
from trainer.engine.events import EpochEnd, Event, RolledBack, StepCheckpoint
from trainer.engine.state import get_state, restore
from trainer.engine.training import Training
from trainer.errors import DivergedError, Problem
from trainer.models.optimizers import lower_rate


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
        if result.is_diverged():
            yield _roll_back(training, result.train)
            continue
        training.partial_epoch = None
        summary = training.end_epoch(result)
        if summary.learning_rate != result.learning_rate:
            training.sync_variables()
            training.optimizer.learning_rate = summary.learning_rate
        stop = training.check_stop()
        if training.callbacks is not None:
            logs = {**summary.metrics, "learning_rate": result.learning_rate}
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
            summary.metrics,
            summary.improved,
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
