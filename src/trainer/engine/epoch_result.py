"""What one epoch gave, however it was run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainer.engine.batches import EpochOutput


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one epoch gave.

    Attributes:
        trained: The pass over the training rows.
        judged: The pass over the validation rows after it, or None.
        learning_rate: At the end of the epoch.
        weights: Gives copies of the weights that were judged, in Keras's order.
    """

    trained: EpochOutput
    judged: EpochOutput | None
    learning_rate: float
    weights: Callable[[], list[Any]]
