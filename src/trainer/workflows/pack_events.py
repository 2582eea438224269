"""Events of pack training. No TensorFlow: they are sent between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.engine.devices import Device
from trainer.engine.events import EpochEnd
from trainer.errors import Problem
from trainer.workers.messages import EpochEvent, Event


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


PackEvent = PackStarted | PackEpochEnded | MemberEnded
