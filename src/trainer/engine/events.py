"""Events that training yields. Does not import TensorFlow: other processes read them too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """The end of an epoch.

    Attributes:
        epoch: Epoch number, from 1.
        step: Batches trained so far.
        learning_rate: Learning rate at the end of the epoch.
        metrics: `loss` and other metrics; those of the validation rows as `val_…`.
        improved: Whether this is the best epoch so far.
        seconds: Wall-clock time of training and validation in this process.
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
class GroupEpochEnd:
    """The end of an epoch of networks that are trained together.

    Attributes:
        epoch: Epoch number, from 1.
        results: Number of the network → its event, for those that completed the epoch.
    """

    epoch: int
    results: Mapping[int, EpochEnd]


@dataclass(frozen=True, slots=True)
class StepCheckpoint:
    """A point within a long epoch at which training can be saved, or ends.

    Attributes:
        epoch: The current epoch, from 1.
        step: Batches trained so far, over all epochs.
        stop: Why training ends here, or None.
    """

    epoch: int
    step: int
    stop: str | None


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A rollback to the start of the epoch, with a lower learning rate, as the loss was not finite.

    Attributes:
        epoch: The epoch that restarts.
        step: The batch of the whole training run, from 1, with the first loss that was not finite.
        learning_rate: The new learning rate.
    """

    epoch: int
    step: int
    learning_rate: float


Event = GroupEpochEnd | StepCheckpoint | RolledBack
