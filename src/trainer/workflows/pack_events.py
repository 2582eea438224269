"""What the training of packs tells. No TensorFlow: it passes between processes.

Owns: the events. Does not own: whatever tells them (`packs`, `many`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainer.engine.devices import Device
from trainer.engine.events import EpochEnd
from trainer.errors import Problem


@dataclass(frozen=True, slots=True)
class PackStarted:
    """A pack begins or goes on.

    Attributes:
        numbers: Its members.
        epoch: The epoch it goes on after; 0 at the start.
        epochs: All there are.
        device: What it is trained on.
    """

    numbers: tuple[int, ...]
    epoch: int
    epochs: int
    device: Device


@dataclass(frozen=True, slots=True)
class PackEpochEnded:
    """One epoch of a pack: member → its result."""

    epoch: int
    results: Mapping[int, EpochEnd]


@dataclass(frozen=True, slots=True)
class MemberEnded:
    """A member's run directory is complete.

    Attributes:
        number: The member.
        run: Its run directory.
        status: How it ended.
        epochs: Epochs trained.
        best_epoch: The epoch whose weights were evaluated; 0 for none.
        best: The measures of that epoch.
        stopped_because: Why training ended.
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
