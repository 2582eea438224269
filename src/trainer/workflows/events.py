"""The events that a command receives while it trains; without TensorFlow, as workers send them too.

    a network       RunStarted, then EpochEnd, StepCheckpoint or RolledBack, then RunFinished
    a pack          PackStarted, then PackEpochEnded, then MemberEnded for each member
    repeats, folds  MembersStarted, PacksScheduled, then events of packs, then MembersFinished
    a sweep         PhaseStarted, SweepStarted, then events of trials, then SweepFinished

Events of epochs are those of `trainer.engine.events`, events of trials those of `trainer.sweep.trials`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from trainer.engine.devices import Device
from trainer.engine.events import EpochEnd, RolledBack, StepCheckpoint
from trainer.errors import Problem
from trainer.report.sweeps.text import SettingLabels
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Intervals
from trainer.runs.manifest import Manifest, Status
from trainer.sweep.leaderboard import Leaderboard, TrialRow
from trainer.sweep.trials import TrialEvent
from trainer.workers.messages import EpochEvent, Event

if TYPE_CHECKING:
    from trainer.workflows.packed.pack_schedule import PackSchedule
    from trainer.workflows.plan import RunPlan
    from trainer.workflows.plans import AnyPlan


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Training starts.

    Attributes:
        run: The run directory.
        plan: The plan of the run.
        device: The device.
        notes: Which layers were initialized from an earlier run, or where training resumes.
    """

    run: Path
    plan: AnyPlan
    device: Device
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run has ended.

    Attributes:
        run: The run directory.
        status: "stopped" if it was interrupted.
        epochs: Number of trained epochs.
        best_epoch: The epoch whose weights are in `checkpoints/best` and were evaluated; 0 for none.
        stopped_because: The reason why training ended.
        metrics: Split → metric → value; empty if training was interrupted.
        sentence: The summary of the report; empty without a report.
        weights_sha256: SHA-256 of the best weights; None before the first epoch is complete.
        seconds: Wall-clock time of this process.
        timings: Phase → seconds, summed over all processes.
    """

    run: Path
    status: Status
    epochs: int
    best_epoch: int
    stopped_because: str
    metrics: dict[str, dict[str, float]]
    sentence: str
    weights_sha256: str | None
    seconds: float
    timings: dict[str, float]

    @classmethod
    def from_manifest(
        cls,
        run: RunDirectory,
        manifest: Manifest,
        metrics: dict[str, dict[str, float]],
        *,
        sentence: str,
        seconds: float = 0.0,
    ) -> Self:
        """Return the end of a run, as its manifest records it."""
        return cls(
            run=run.path,
            status=manifest.status,
            epochs=manifest.epochs,
            best_epoch=manifest.best_epoch or 0,
            stopped_because=manifest.stopped_because or "",
            metrics=metrics,
            sentence=sentence,
            weights_sha256=manifest.weights_sha256,
            seconds=seconds,
            timings=dict(manifest.timings),
        )


@dataclass(frozen=True, slots=True)
class PackStarted(Event):
    """A pack starts or resumes.

    Attributes:
        numbers: The numbers of its members.
        epoch: The epoch it resumes after; 0 at the start.
        epochs: The total number of epochs.
        device: The device it trains on.
    """

    numbers: tuple[int, ...]
    epoch: int
    epochs: int
    device: Device


@dataclass(frozen=True, slots=True)
class PackEpochEnded(EpochEvent):
    """A pack has completed an epoch: member → result."""

    epoch: int
    results: Mapping[int, EpochEnd]


@dataclass(frozen=True, slots=True)
class MemberEnded(Event):
    """The run directory of a member is complete.

    Attributes:
        number: The number of the member.
        run: The run directory.
        status: How training ended.
        epochs: Number of trained epochs.
        best_epoch: The epoch whose weights were evaluated; 0 for none.
        best: The metrics of that epoch.
        stopped_because: The reason why training ended.
        metrics: Split → metric → value.
        problems: Why it failed.
    """

    number: int
    run: Path
    status: Literal["finished", "failed", "stopped"]
    epochs: int
    best_epoch: int
    best: Mapping[str, float]
    stopped_because: str
    metrics: Mapping[str, Mapping[str, float]]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class MembersStarted:
    """A run of several networks starts.

    Attributes:
        run: Its directory.
        plan: The plan of its first member.
        members: The number of members.
        repeats: Networks per fold.
        folds: The number of folds; None if all members share the validation rows.
    """

    run: Path
    plan: RunPlan
    members: int
    repeats: int
    folds: int | None


@dataclass(frozen=True, slots=True)
class MembersFinished:
    """A run of several networks has ended.

    Attributes:
        run: Its directory.
        status: "stopped" if it was interrupted.
        stopped_because: The reason why it ended.
        members: How each member ended.
        aggregates: Metrics over the members.
        sentence: The summary of the report; empty without a report.
        seconds: Wall-clock time of this process.
    """

    run: Path
    status: Literal["finished", "stopped"]
    stopped_because: str
    members: tuple[MemberEnded, ...]
    aggregates: Intervals
    sentence: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PacksScheduled:
    """The networks have been grouped into programs."""

    plan: PackSchedule


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """Work starts that may take seconds, named in the form "reading data.csv"."""

    text: str


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """A sweep starts or resumes.

    Attributes:
        sweep: Its directory.
        plan: The plan of the base config.
        search: How trials are chosen.
        trials: Maximum number of trials; None if only time or an exhausted grid ends the sweep.
        jobs: Number of training processes.
        leaderboard: The current ranking.
        warning: A warning if there are fewer trials than configured, else empty.
        labels: Searched values as short text.
    """

    sweep: Path
    plan: AnyPlan
    search: str
    trials: int | None
    jobs: int
    leaderboard: Leaderboard
    warning: str
    labels: SettingLabels


@dataclass(frozen=True, slots=True)
class SweepFinished:
    """A sweep, or this process's part of it, has ended.

    Attributes:
        sweep: Its directory.
        reason: "trials", "seconds" or "interrupted".
        leaderboard: The ranking.
        winner: The best trial; None if interrupted.
        metrics: Split → metric → value of the best trial, including test rows.
        seconds: Wall-clock time of this process.
    """

    sweep: Path
    reason: str
    leaderboard: Leaderboard
    winner: TrialRow | None
    metrics: Mapping[str, Mapping[str, float]]
    seconds: float

    @property
    def status(self) -> Literal["finished", "stopped"]:
        """Return "stopped" if it was interrupted and can be resumed."""
        return "stopped" if self.reason == "interrupted" else "finished"


RunEvent = RunStarted | EpochEnd | StepCheckpoint | RolledBack | RunFinished
PackEvent = PackStarted | PackEpochEnded | MemberEnded
MembersEvent = MembersStarted | PacksScheduled | PackEvent | MembersFinished
SweepEvent = PhaseStarted | SweepStarted | TrialEvent | SweepFinished
