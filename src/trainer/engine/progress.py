"""Progress of the training of one network, on its own or in a pack: epochs, best weights, decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.data.samples import Samples
from trainer.engine.batches import EpochOutput
from trainer.engine.divergence import DivergenceAdvice
from trainer.engine.epoch_result import EpochResult
from trainer.engine.monitors import Monitors

MetricFunction = Callable[[EpochOutput, Samples], dict[str, float]]
"""Computes the metrics of an output for its samples."""


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
class Progress:
    """Progress of the training of one network.

    Attributes:
        train: The training rows.
        validation: The validation rows, or None.
        compute_metrics: Computes the metrics of an output.
        monitors: State of best epoch, early stopping and learning-rate reduction.
        monitor: The metric that determines the best epoch.
        total_steps: Number of batches to train.
        keep_last: Whether the latest epoch counts as the best.
        advice: Suggested fixes when the loss is not finite.
        best_weights: Weights of the best epoch (averages, if the optimizer keeps them).
        best_epoch: Number of the best epoch.
        epoch: The latest completed epoch.
        step: Batches trained by the end of it.
        stop_reason: Why training has ended, or None.
        interrupted: Whether it ended by request rather than because it was complete.
    """

    train: Samples
    validation: Samples | None
    compute_metrics: MetricFunction
    monitors: Monitors
    monitor: str
    total_steps: int
    keep_last: bool = False
    advice: DivergenceAdvice = field(default_factory=DivergenceAdvice)
    best_weights: list[Any] = field(default_factory=list)
    best_epoch: int = 0
    epoch: int = 0
    step: int = 0
    stop_reason: str | None = None
    interrupted: bool = False

    def end_epoch(self, result: EpochResult) -> EpochSummary:
        """Count an epoch, compute its metrics, and update the monitors and the best weights."""
        self.epoch += 1
        self.step += result.train.steps
        metrics = self._metrics(result)
        improved = self.monitors.best.update(self.epoch, metrics[self.monitor])
        improved = improved or self.keep_last or not self.best_weights
        if improved:
            self.best_epoch, self.best_weights = self.epoch, result.weights()
        early_stopping, reduce_lr = self.monitors.early_stopping, self.monitors.reduce_lr
        learning_rate = result.learning_rate
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

    def metadata(
        self, *, callbacks: Sequence[Any] = (), partial_steps: int = 0, rollbacks: int = 0
    ) -> dict[str, Any]:
        """Return the progress as the JSON values of a checkpoint.

        Args:
            callbacks: JSON states of user-defined callbacks.
            partial_steps: Batches of an unfinished epoch.
            rollbacks: Number of rollbacks so far.
        """
        return {
            "epoch": self.epoch,
            "step": self.step,
            "callbacks": list(callbacks),
            "steps_begun": partial_steps,
            "best_epoch": self.best_epoch,
            "monitors": self.monitors.state(),
            "rewound": rollbacks,
            "stopped_because": None if self.interrupted else self.stop_reason,
        }

    def restore(self, metadata: Mapping[str, Any], best_weights: list[Any]) -> None:
        """Restore the progress that `metadata` describes."""
        self.monitors.restore(metadata["monitors"])
        self.epoch, self.step = metadata["epoch"], metadata["step"]
        self.best_epoch, self.best_weights = metadata["best_epoch"], best_weights
        self.stop_reason, self.interrupted = metadata["stopped_because"], False

    def _metrics(self, result: EpochResult) -> dict[str, float]:
        metrics = {"loss": result.train.loss, **self.compute_metrics(result.train, self.train)}
        if result.validation is not None:
            assert self.validation is not None
            metrics["val_loss"] = result.validation.loss
            val_metrics = self.compute_metrics(result.validation, self.validation)
            metrics.update({f"val_{name}": value for name, value in val_metrics.items()})
        return metrics
