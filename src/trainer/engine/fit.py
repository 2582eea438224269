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
from trainer.engine.batches import Begun, Pass, Stepper
from trainer.engine.callbacks import Callbacks
from trainer.engine.divergence import (
    Advice,
    divergence_problem,
    first_bad_step,
    first_broken,
)
from trainer.engine.events import EpochResult, Event, Partway, Rewound
from trainer.engine.monitors import Monitors
from trainer.engine.outcome import Outcome
from trainer.engine.pace import Pace
from trainer.engine.state import State, capture, restore
from trainer.errors import DivergedError, Problem
from trainer.models.optimizers import lower_rate

Measure = Callable[[Pass, Samples], dict[str, float]]
"""The metrics of a pass over samples."""


@dataclass(slots=True)
class Rewinding:
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
        stepper: Trains them; holds the mean of the loss within an epoch.
        pace: Takes the network from epoch to epoch.
        train: The rows that are trained on.
        validation: The rows each epoch is judged by, or None.
        measure: Computes the metrics of a pass.
        monitors: The decisions.
        monitor: The measure that says which epoch is best.
        total_steps: Batches after which training is done.
        keep_last: The latest epoch counts as the best.
        callbacks: Of the user's own; epochs then come one by one.
        rewinding: Go back where the loss is not finite; None: stop.
        max_seconds: Training ends after so many.
        advice: What helps where the loss is not finite.
        best_weights: Weights of the best epoch (averages, where the optimizer keeps them).
        best_epoch: Its number.
        epoch: The latest epoch done.
        step: Batches done with it.
        begun: What is trained of the next epoch, or None.
        began: When training began, by `perf_counter`: so much earlier as former processes trained.
        ended: Why training has ended, or None.
        interrupted: It ended because it was asked to, not because it was done.
    """

    network: keras.Sequential
    optimizer: keras.optimizers.Optimizer
    stepper: Stepper
    pace: Pace
    train: Samples
    validation: Samples | None
    measure: Measure
    monitors: Monitors
    monitor: str
    total_steps: int
    keep_last: bool = False
    callbacks: Callbacks | None = None
    rewinding: Rewinding | None = None
    max_seconds: float = math.inf
    advice: Advice = field(default_factory=Advice)
    best_weights: list[Any] = field(default_factory=list)
    best_epoch: int = 0
    epoch: int = 0
    step: int = 0
    begun: Begun | None = None
    began: float = field(default_factory=perf_counter)
    ended: str | None = None
    interrupted: bool = False

    @property
    def position(self) -> int:
        """Batches trained, those of an epoch in part included."""
        return self.step + (0 if self.begun is None else self.begun.steps)

    @property
    def seconds(self) -> float:
        """Spent so far, by all processes that trained."""
        return perf_counter() - self.began

    def settle(self) -> None:
        """Let network and optimizer stand at the end of the latest epoch that was yielded.

        Epochs may have been run ahead; whoever reads their variables calls this first.
        """
        self.pace.settle(self.epoch)

    def reason_to_end(self) -> str | None:
        """Why no further batch is to be trained, by what has been trained so far."""
        if self.step >= self.total_steps:
            return "all epochs done"
        reason = self.monitors.stopper.reason() if self.monitors.stopper is not None else None
        if reason is None and self.seconds >= self.max_seconds:
            reason = f"fit.max_seconds: {self.max_seconds:g} seconds are over"
        return reason


def fit(training: Training, interrupted: Callable[[], str | None]) -> Iterator[Event]:
    """Train until all steps are done, a decision says stop, or `interrupted` gives a reason.

    A training that has ended before yields nothing.

    Args:
        training: Changed in place; after each result `training.settle()` lets its network and
            optimizer stand at the end of that epoch.
        interrupted: Asked about once a second and at the end of each epoch.

    Raises:
        DivergedError: The training loss is not finite; `training` keeps the best weights.
    """
    training.ended = training.ended or training.reason_to_end()
    if training.callbacks is not None and training.ended is None:
        training.callbacks.begin()
    while training.ended is None:
        started = perf_counter()
        if training.callbacks is not None and training.begun is None:
            training.callbacks.epoch_begin(training.epoch + 1)
        if training.rewinding is not None and training.begun is None:
            training.rewinding.start = capture(training.network, training.optimizer)
        outcome = yield from _through_epoch(training, interrupted)
        if outcome is None:
            break
        if _is_diverged(training, outcome):
            yield _rewound(training, outcome.trained)
            continue
        training.begun = None
        training.epoch += 1
        training.step += outcome.trained.steps
        measures = _measures(training, outcome)
        improved = training.monitors.best.update(training.epoch, measures[training.monitor])
        improved = improved or training.keep_last or not training.best_weights
        if improved:
            training.best_epoch = training.epoch
            training.best_weights = outcome.weights()
        _decide(training, measures, outcome.learning_rate)
        stop = training.reason_to_end()
        if training.callbacks is not None:
            told = {**measures, "learning_rate": outcome.learning_rate}
            stop = training.callbacks.epoch_end(training.epoch, told) or stop
        if stop is None:
            stop = interrupted()
            training.interrupted = stop is not None
        training.ended = stop
        if stop is not None:
            training.settle()
            if _broken(training):
                at = (training.epoch, training.step)
                raise DivergedError(_diverged(training, outcome.trained, *at))
        seconds = perf_counter() - started
        yield EpochResult(
            training.epoch,
            training.step,
            outcome.learning_rate,
            measures,
            improved,
            seconds,
            stop,
        )
    if training.callbacks is not None:
        training.callbacks.end()


def _through_epoch(
    training: Training, interrupted: Callable[[], str | None]
) -> Generator[Partway, None, Outcome | None]:
    """One epoch, or what is left of it; None when training ends within it."""
    left = training.total_steps - training.step
    going = training.pace.next(training.epoch + 1, left, training.begun)
    calls = 0 if training.begun is None else 1
    while True:
        try:
            begun = next(going)
        except StopIteration as ended:
            outcome: Outcome = ended.value
            return outcome
        if begun is not None:
            training.begun = begun
            calls += 1
            whole = begun.rows == len(training.train.x) or begun.steps == left
            # An epoch of one call comes to its end; so does one whose loss is to be told of.
            if (whole and calls == 1) or begun.diverged:
                continue
        stop = interrupted()
        training.interrupted = stop is not None
        if stop is None and training.seconds >= training.max_seconds:
            stop = training.reason_to_end()
        if stop is not None:
            # Whoever was judging puts the weights back in place of their averages.
            going.close()
            training.ended = stop
        if stop is not None or begun is not None:
            yield Partway(training.epoch + 1, training.position, stop)
        if stop is not None:
            return None


def _measures(training: Training, outcome: Outcome) -> dict[str, float]:
    trained, judged = outcome.trained, outcome.judged
    measures = {"loss": trained.loss, **training.measure(trained, training.train)}
    if judged is not None:
        assert training.validation is not None
        measures["val_loss"] = judged.loss
        metrics = training.measure(judged, training.validation)
        measures.update({f"val_{name}": value for name, value in metrics.items()})
    return measures


def _decide(training: Training, measures: dict[str, float], learning_rate: float) -> None:
    stopper, plateau = training.monitors.stopper, training.monitors.plateau
    if plateau is not None:
        lowered = plateau.update(measures[plateau.settings.monitor], learning_rate)
        if lowered != learning_rate:
            training.settle()
            training.optimizer.learning_rate = lowered
    if stopper is not None:
        stopper.update(training.epoch, measures[stopper.settings.monitor])


def _is_diverged(training: Training, outcome: Outcome) -> bool:
    if not math.isfinite(outcome.trained.loss):
        return True
    # The last step of an epoch can break weights whose loss was finite; the rows can be at fault, too.
    return (
        outcome.judged is not None
        and not math.isfinite(outcome.judged.loss)
        and not all(np.all(np.isfinite(weight)) for weight in outcome.weights())
    )


def _rewound(training: Training, trained: Pass) -> Rewound:
    """Back to the start of the epoch, with a lower learning rate.

    Raises:
        DivergedError: It is not to, or not again.
    """
    step = training.step + first_bad_step(trained)
    rewinding = training.rewinding
    if rewinding is None or rewinding.done >= rewinding.limit:
        # Epochs may have been run ahead: what is told of is the weights at the end of this one.
        training.pace.settle(training.epoch + 1)
        raise DivergedError(_diverged(training, trained, training.epoch + 1, step))
    restore(training.network, training.optimizer, rewinding.start)
    lower_rate(training.optimizer, rewinding.factor)
    rewinding.done += 1
    training.begun = None
    return Rewound(training.epoch + 1, step, float(training.optimizer.learning_rate))


def _broken(training: Training) -> str | None:
    """The first of the network's variables with a value that is not finite."""
    return first_broken((str(one.path), one.numpy()) for one in training.network.variables)


def _diverged(training: Training, trained: Pass, epoch: int, step: int) -> Problem:
    rewinds = training.rewinding.done if training.rewinding is not None else 0
    broken = _broken(training)
    return divergence_problem(epoch, step, trained.loss, broken, training.advice, rewinds)
