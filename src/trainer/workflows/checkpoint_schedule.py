"""When a checkpoint is due: one rule for a run of its own and for a pack (`fit.checkpoint.every`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from trainer.config.sections import interval_parts

WRITING_SHARE = 0.05
"""A checkpoint is put off while writing would take more than this share of the time."""


@dataclass(slots=True)
class CheckpointSchedule:
    """The last checkpoint, and when the next is due.

    Attributes:
        every: How often checkpoints are written, an `Interval`.
        epoch: Epochs done at the last one.
        step: Batches done at the last one.
        clock: Seconds that only rise.
    """

    every: str
    epoch: int = 0
    step: int = 0
    clock: Callable[[], float] = monotonic
    _at: float = field(init=False)
    _writing: float = 0.0

    def __post_init__(self) -> None:
        self._at = self.clock()

    def is_due(self, epoch: int, step: int) -> bool:
        """Whether a checkpoint is due after these numbers of epochs and batches."""
        since = self.clock() - self._at
        if since * WRITING_SHARE < self._writing:
            return False
        count, unit = interval_parts(self.every)
        match unit:
            case "epoch":
                return epoch - self.epoch >= count
            case "step":
                return step - self.step >= count
            case "minute":
                return since >= 60 * count
            case _:
                return since >= count

    def written(self, epoch: int, step: int, began: float) -> None:
        """Note a checkpoint that was written, beginning at `began` by the clock."""
        self.epoch, self.step = epoch, step
        self._at = self.clock()
        self._writing = self._at - began
