"""The result of one epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainer.engine.batches import EpochOutput


@dataclass(frozen=True, slots=True)
class EpochResult:
    """The result of one epoch.

    Attributes:
        train: Output on the training rows.
        validation: Output on the validation rows after training, or None.
        learning_rate: Learning rate at the end of the epoch.
        weights: Returns copies of the weights that were evaluated, in Keras's order.
    """

    train: EpochOutput
    validation: EpochOutput | None
    learning_rate: float
    weights: Callable[[], list[Any]]
