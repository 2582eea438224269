"""The result of one epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.engine.batches import EpochOutput


@dataclass(frozen=True, slots=True)
class EpochResult:
    """The result of one epoch.

    Attributes:
        train: Output on the training rows.
        validation: Output on the validation rows after training, or None.
        learning_rate: Learning rate at the end of the epoch.
        weights: Returns the weights that were evaluated, in Keras's order.
    """

    train: EpochOutput
    validation: EpochOutput | None
    learning_rate: float
    weights: Callable[[], list[Any]]

    def is_diverged(self) -> bool:
        """Return whether the training loss or the weights are not finite."""
        if not math.isfinite(self.train.loss):
            return True
        # The last step can produce weights that are not finite after a finite loss. A validation loss
        # that is not finite can also come from the validation rows.
        return (
            self.validation is not None
            and not math.isfinite(self.validation.loss)
            and not all(np.all(np.isfinite(weight)) for weight in self.weights())
        )
