"""When a checkpoint is due (`fit.checkpoint.every`): one rule for single runs and packs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from trainer.config.sections import interval_parts

MAX_WRITING_FRACTION = 0.05
"""A checkpoint is postponed while writing would take more than this fraction of the time."""


@dataclass(slots=True)
class CheckpointSchedule:
    """When the last checkpoint was written and the next one is due.

    Attributes:
        every: How often checkpoints are written, an `Interval`.
        epoch: Epochs completed at the last one.
        step: Batches completed at the last one.
        clock: A monotonic clock in seconds.
    """

    every: str
    epoch: int = 0
    step: int = 0
    clock: Callable[[], float] = monotonic
    _written_at: float = field(init=False)
    _write_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._written_at = self.clock()

    def is_due(self, epoch: int, step: int) -> bool:
        """Return whether a checkpoint is due after these numbers of epochs and batches."""
        elapsed = self.clock() - self._written_at
        if elapsed * MAX_WRITING_FRACTION < self._write_seconds:
            return False
        count, unit = interval_parts(self.every)
        match unit:
            case "epoch":
                return epoch - self.epoch >= count
            case "step":
                return step - self.step >= count
            case "minute":
                return elapsed >= 60 * count
            case _:
                return elapsed >= count

    def record_write(self, epoch: int, step: int, start_time: float) -> None:
        """Record that a checkpoint was written, which began at `start_time` by the clock."""
        self.epoch, self.step = epoch, step
        self._written_at = self.clock()
        self._write_seconds = self._written_at - start_time
