"""Trials, batches and events: the interface between a sweep and the code that trains its trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

TrialStatus = Literal["finished", "failed", "eliminated", "stopped"]
"""How a trial ended. finished: as configured. failed: with an error. eliminated: by halving. stopped: by
the sweep's time limit."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial of a sweep.

    Attributes:
        number: Number from 0, in the order of the suggestions.
        settings: Setting → value, in the order in which they are set.
    """

    number: int
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BatchPlanned:
    """A batch of trials, and a description of how they are packed."""

    trials: tuple[Trial, ...]
    text: str


@dataclass(frozen=True, slots=True)
class TrialPackStarted:
    """A pack of trials is set up; its program is compiled next.

    Attributes:
        position: Position of the pack in the batch, from 1.
        packs: Number of packs in the batch.
        trials: Numbers of its trials.
        epoch: The last completed epoch; 0 at the start.
    """

    position: int
    packs: int
    trials: tuple[int, ...]
    epoch: int


class BestEpoch(NamedTuple):
    """A trial's best epoch so far, by the objective."""

    objective: float
    epoch: int


@dataclass(frozen=True, slots=True)
class TrialPackEpoch:
    """A pack of trials has completed an epoch.

    Attributes:
        epoch: Number of the epoch, from 1.
        objectives: Trial still in training → its objective after the epoch, or NaN.
        best: Trial → its best epoch so far, which determines its rank; only trials with a finite
            objective.
    """

    epoch: int
    objectives: Mapping[int, float]
    best: Mapping[int, BestEpoch] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial has ended.

    Attributes:
        number: Number of the trial.
        status: How it ended.
        objective: The objective at the best epoch; NaN if undefined.
        epochs: Number of trained epochs.
        best_epoch: Epoch of the best checkpoint, from 1; None if there is none.
        run: The run directory, relative to the sweep's; None if there is none.
        seconds: Training time of the pack that contains the trial.
        reason: Why it failed, as text.
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
        """Whether the trial can be ranked."""
        return math.isfinite(self.objective)


@dataclass(slots=True)
class Batch:
    """Trials to train, with the requests of the sweep to the code that trains them.

    Attributes:
        trials: Trials that have not ended.
        eliminated: Trials to end as `eliminated` with the last reported epoch.
        is_stopped: Whether to end all remaining trials now, as `stopped`.
    """

    trials: tuple[Trial, ...]
    eliminated: set[int] = field(default_factory=set)
    is_stopped: bool = False


TrialEvent = BatchPlanned | TrialPackStarted | TrialPackEpoch | TrialEnded
Train = Callable[[Batch], Generator[TrialEvent, None, None]]
"""Trains the trials of a batch and yields events.

- After every event it checks `eliminated` and `is_stopped`, and ends those trials with a `TrialEnded`
  event like any other.
- Trials that continue from an earlier epoch, in this process or another, report their epochs again from
  there and are halved as before; no trial reports its end twice.
- It returns before all trials have ended only if it was interrupted, or if time was up before their
  training started; those trials are resumed later.
"""
