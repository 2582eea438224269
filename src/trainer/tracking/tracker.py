"""What a tracker is told of a run, and what it is.

Owns: the words between a run and its trackers. Does not own: any tracker, nor what becomes of one that
fails (`trackers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from trainer.config.schema import Config
from trainer.runs.directory import RunDirectory
from trainer.runs.manifest import Manifest

Weights = Mapping[str, np.ndarray[Any, Any]]
"""The weights of a network by their paths: dense/kernel."""


@dataclass(frozen=True, slots=True)
class RunStart:
    """A run begins or goes on.

    Attributes:
        run: Its directory; its log holds the epochs that are done, no more.
        config: As it runs.
        manifest: As far as it is known.
    """

    run: RunDirectory
    config: Config
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class EpochLogs:
    """What one epoch gave.

    Attributes:
        number: From 1.
        learning_rate: At its end.
        measures: `loss`, metrics, and the same of the validation rows as `val_…`.
        at_seconds: When, in seconds since 1970.
        weights: Where a tracker wanted them; else None.
    """

    number: int
    learning_rate: float
    measures: Mapping[str, float]
    at_seconds: float
    weights: Weights | None = None


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run has ended; its files are written.

    Attributes:
        status: How.
        epoch: The best epoch, which was evaluated; 0 for none.
        metrics: What the evaluations say: test_accuracy and the like.
        weights_sha256: Of the weights that were evaluated.
    """

    status: Literal["finished", "failed", "stopped"]
    epoch: int
    metrics: Mapping[str, float]
    weights_sha256: str | None


class Tracker(Protocol):
    """One that is told of a run. Whatever it raises ends its part in the run, never the run."""

    def wants_weights(self, epoch: int) -> bool:
        """Whether an epoch is to come with its weights."""
        ...

    def started(self, start: RunStart) -> None:
        """The run begins or goes on; told once, first."""
        ...

    def epoch(self, epoch: EpochLogs) -> None:
        """An epoch is done."""
        ...

    def finished(self, end: RunEnd) -> None:
        """The run has ended; told once, last."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
