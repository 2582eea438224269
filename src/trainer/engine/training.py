"""Training of one network, alone or together with others: progress, best weights, decisions.

The variables of the network and the optimizer belong to its executor (`trainer.engine.executors`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trainer.config.schema import OnNonfinite
from trainer.data.samples import Samples
from trainer.engine.batches import EpochOutput
from trainer.engine.callbacks import Callbacks
from trainer.engine.divergence import DivergenceAdvice
from trainer.engine.epoch_result import EpochResult
from trainer.engine.learner import Learner
from trainer.engine.monitors import Monitors
from trainer.engine.snapshot import (
    Snapshot,
    best_weight_arrays,
    best_weights_from,
    variable_arrays,
)
from trainer.engine.state import State
from trainer.errors import Problem

MetricFunction = Callable[[EpochOutput, Samples], dict[str, float]]
"""Computes the metrics of an output for its samples."""


@dataclass(slots=True, kw_only=True)
class Rollback:
    """Rollback to the start of an epoch, with a lower learning rate, after a loss that is not finite.

    Attributes:
        learner: The learner.
        max_rollbacks: Maximum number of rollbacks.
        factor: Factor applied to the learning rate at each rollback.
        count: Number of rollbacks so far.
        start_state: All variables at the start of the epoch.
    """

    learner: Learner
    max_rollbacks: int
    factor: float
    count: int = 0
    start_state: State = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: OnNonfinite, learner: Learner) -> Rollback | None:
        """Return the rollbacks that the settings ask for, or None."""
        if settings.action == "stop":
            return None
        return cls(learner=learner, max_rollbacks=settings.max_rollbacks, factor=settings.factor)

    @property
    def is_exhausted(self) -> bool:
        """Whether the maximum number of rollbacks is reached."""
        return self.count >= self.max_rollbacks

    def start_epoch(self) -> None:
        """Keep the variables for a rollback."""
        self.start_state = self.learner.state()

    def apply(self) -> float:
        """Restore the start of the epoch and return the new learning rate."""
        self.learner.restore(self.start_state)
        self.learner.lower_learning_rates(self.factor)
        self.count += 1
        return float(self.learner.learning_rate)


@dataclass(frozen=True, slots=True)
class EpochSummary:
    """What follows from the result of an epoch.

    Attributes:
        metrics: `loss` and other metrics; those of the validation rows as `val_…`.
        improved: Whether this is the best epoch so far.
        learning_rate: The learning rate of the next epoch, if no schedule determines it.
    """

    metrics: dict[str, float]
    improved: bool
    learning_rate: float


@dataclass(slots=True, kw_only=True)
class Training:
    """Training of one network.

    Attributes:
        train: The training rows.
        validation: The validation rows, or None.
        compute_metrics: Computes the metrics of an output.
        monitors: State of best epoch, early stopping and learning-rate reduction.
        monitor: The metric that determines the best epoch.
        total_steps: Number of batches to train.
        keep_last: Whether the latest epoch counts as the best.
        complete_epoch: The first epoch whose weights are compressed as configured; earlier ones are not
            compared with later ones.
        advice: Suggested fixes when the loss is not finite.
        callbacks: User-defined callbacks; its executor then runs one epoch at a time.
        rollback: Rollbacks when the loss is not finite, of a network that is trained alone; None to end
            the training instead.
        best_weights: Weights of the best epoch (averages, if the optimizer keeps them).
        best_epoch: Number of the best epoch.
        epoch: The latest completed epoch.
        step: Batches trained by the end of it.
        stop_reason: Why training has ended, or None.
        is_interrupted: Whether it ended by request rather than because it was complete.
        problem: Why it failed, or None.
    """

    train: Samples
    validation: Samples | None
    compute_metrics: MetricFunction
    monitors: Monitors
    monitor: str
    total_steps: int
    keep_last: bool = False
    complete_epoch: int = 1
    advice: DivergenceAdvice = field(default_factory=DivergenceAdvice)
    callbacks: Callbacks | None = None
    rollback: Rollback | None = None
    best_weights: list[Any] = field(default_factory=list)
    best_epoch: int = 0
    epoch: int = 0
    step: int = 0
    stop_reason: str | None = None
    is_interrupted: bool = False
    problem: Problem | None = None

    @property
    def is_live(self) -> bool:
        """Whether it is still training."""
        return self.stop_reason is None

    def end_epoch(self, result: EpochResult) -> EpochSummary:
        """Count an epoch, compute its metrics, and update the monitors and the best weights."""
        self.epoch += 1
        self.step += result.train.steps
        metrics = self._metrics(result)
        if self.epoch == self.complete_epoch:
            self.monitors.best.restart()
        improved = self.monitors.best.update(self.epoch, metrics[self.monitor])
        improved = improved or self.keep_last or not self.best_weights
        improved = improved or self.epoch == self.complete_epoch
        if improved:
            self.best_epoch, self.best_weights = self.epoch, result.weights()
        early_stopping, reduce_lr = self.monitors.early_stopping, self.monitors.reduce_lr
        learning_rate = result.learning_rate
        if self.epoch < self.complete_epoch:
            return EpochSummary(metrics, improved, learning_rate)
        if reduce_lr is not None:
            learning_rate = reduce_lr.update(metrics[reduce_lr.settings.monitor], learning_rate)
        if early_stopping is not None:
            early_stopping.update(self.epoch, metrics[early_stopping.settings.monitor])
        return EpochSummary(metrics, improved, learning_rate)

    def check_stop(self) -> str | None:
        """Return why training should end after the epochs so far, or None."""
        if self.step >= self.total_steps:
            return "all epochs done"
        early_stopping = self.monitors.early_stopping
        return None if early_stopping is None else early_stopping.reason()

    def snapshot(self, state: State, partial_steps: int) -> Snapshot:
        """Return a snapshot.

        Args:
            state: State of its network in the executor.
            partial_steps: Batches trained of an unfinished epoch.
        """
        arrays = variable_arrays(state) | best_weight_arrays(self.best_weights)
        arrays |= state
        if partial_steps and self.rollback is not None:
            start = self.rollback.start_state
            arrays |= {f"start/{name}": value for name, value in start.items()}
        if self.callbacks is not None:
            arrays |= self.callbacks.array_states()
        metadata = {
            "epoch": self.epoch,
            "step": self.step,
            "callbacks": [] if self.callbacks is None else self.callbacks.json_states(),
            "steps_begun": partial_steps,
            "best_epoch": self.best_epoch,
            "monitors": self.monitors.state(),
            "rewound": 0 if self.rollback is None else self.rollback.count,
            "stopped_because": None if self.is_interrupted else self.stop_reason,
        }
        return Snapshot(arrays, metadata)

    def restore(self, snapshot: Snapshot) -> None:
        """Restore the progress in a snapshot."""
        arrays, metadata = snapshot.arrays, snapshot.metadata
        self.monitors.restore(metadata["monitors"])
        self.epoch, self.step = metadata["epoch"], metadata["step"]
        self.best_epoch, self.best_weights = metadata["best_epoch"], best_weights_from(arrays)
        self.stop_reason, self.is_interrupted = metadata["stopped_because"], False
        if self.rollback is not None:
            self.rollback.count = metadata["rewound"]
            self.rollback.start_state = {
                name.removeprefix("start/"): value
                for name, value in arrays.items()
                if name.startswith("start/")
            }
        if self.callbacks is not None:
            self.callbacks.restore(metadata["callbacks"], arrays)

    def _metrics(self, result: EpochResult) -> dict[str, float]:
        metrics = {"loss": result.train.loss, **self.compute_metrics(result.train, self.train)}
        if result.validation is not None:
            assert self.validation is not None
            metrics["val_loss"] = result.validation.loss
            val_metrics = self.compute_metrics(result.validation, self.validation)
            metrics.update({f"val_{name}": value for name, value in val_metrics.items()})
        return metrics
