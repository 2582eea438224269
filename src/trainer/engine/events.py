"""What a training tells while it goes on. No TensorFlow: other processes read it, too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """What one epoch gave.

    Attributes:
        epoch: Its number, from 1.
        step: Batches trained so far.
        learning_rate: At the end of the epoch.
        metrics: `loss`, metrics, and the same of the validation rows as `val_…`.
        improved: It is the best epoch so far.
        seconds: Wall-clock time of training and validation, in this process.
        stop: Why training ends with this epoch, or None.
    """

    epoch: int
    step: int
    learning_rate: float
    metrics: dict[str, float]
    improved: bool
    seconds: float
    stop: str | None


@dataclass(frozen=True, slots=True)
class StepCheckpoint:
    """A place within a long epoch, where training can be saved.

    Attributes:
        epoch: The epoch that is being trained, from 1.
        step: Batches trained so far, of all epochs.
        stop: Why training ends here, or None.
    """

    epoch: int
    step: int
    stop: str | None


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The loss was not finite: training stands at the start of the epoch again, and goes on slower.

    Attributes:
        epoch: The epoch that is begun anew.
        step: The batch of training, from 1, with the first loss that was not finite.
        learning_rate: The new one.
    """

    epoch: int
    step: int
    learning_rate: float


Event = EpochEnd | StepCheckpoint | RolledBack
