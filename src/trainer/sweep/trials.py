"""What passes between a sweep and whoever trains its trials.

Owns: trials, the batches they are trained in, what is told of them. Does not own: what is decided from
it (`study`), how it is written down (`journal`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

TrialStatus = Literal["finished", "failed", "eliminated", "stopped"]
"""How a trial ended. finished: as its config has it. failed: it could not be trained. eliminated: by
halving. stopped: the sweep's time was over."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One network of a sweep.

    Attributes:
        number: From 0, in the order of the suggestions.
        settings: Setting → value, in the order they are set.
        is_resumed: Whether a former process may have begun it.
    """

    number: int
    settings: Mapping[str, Any]
    is_resumed: bool = False


@dataclass(frozen=True, slots=True)
class BatchPlanned:
    """A batch of trials, and the programs that train them, as text."""

    trials: tuple[Trial, ...]
    text: str


@dataclass(frozen=True, slots=True)
class PackBegun:
    """Trials that are trained together are set up; their program is compiled next.

    Attributes:
        place: Their place among the packs of the batch, from 1.
        packs: How many there are.
        trials: Their numbers.
        epoch: The epoch they continue after; 0 at the start.
    """

    place: int
    packs: int
    trials: tuple[int, ...]
    epoch: int


class BestEpoch(NamedTuple):
    """A trial's best epoch so far, by its objective."""

    objective: float
    epoch: int


@dataclass(frozen=True, slots=True)
class EpochDone:
    """An epoch of trials that are trained together is over.

    Attributes:
        epoch: Its number from 1.
        objectives: Every trial of them that still trains → its objective after the epoch, or NaN.
        best: Trial → its best epoch so far, which it is compared by in the end; one without a finite
            objective is left out.
    """

    epoch: int
    objectives: Mapping[int, float]
    best: Mapping[int, BestEpoch] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial has ended.

    Attributes:
        number: The trial.
        status: How it ended.
        objective: Its objective at its best epoch; NaN where there is none.
        epochs: Epochs that it was trained for.
        best_epoch: The epoch of the best checkpoint, from 1; None where there is none.
        run: Its run directory, relative to the sweep's; None where there is none.
        seconds: Seconds it was trained for; of trials trained together those of all of them.
        reason: Why it failed, in words.
    """

    number: int
    status: TrialStatus
    objective: float
    epochs: int
    best_epoch: int | None
    run: str | None
    seconds: float
    reason: str = ""

    @property
    def has_objective(self) -> bool:
        """Whether it can be compared."""
        return math.isfinite(self.objective)


@dataclass(slots=True)
class Batch:
    """Trials that are handed out to be trained; what is asked of the trainer is read off it.

    Attributes:
        trials: The trials that have not ended.
        eliminated: Of them, those that are to end with the epoch that was told last, as `eliminated`.
        is_stopped: Whether all that still train are to end now, as `stopped`.
    """

    trials: tuple[Trial, ...]
    eliminated: set[int] = field(default_factory=set)
    is_stopped: bool = False


TrialEvent = BatchPlanned | PackBegun | EpochDone | TrialEnded
Train = Callable[[Batch], Generator[TrialEvent, None, None]]
"""Trains the trials of a batch and tells of it.

- After every event it looks at `eliminated` and `is_stopped` and ends those trials, which it tells by
  `TrialEnded` as of any other.
- Trials that go on from an earlier epoch, in this process or another, are told again from there on, and
  halved as they were; none is told as ended twice.
- It returns before all have ended only where it was interrupted, or where time was over before their
  training began: they are then resumed.
"""
