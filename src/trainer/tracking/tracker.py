"""The interface of experiment trackers, and the events that they receive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from trainer.config.schema import Config
from trainer.runs.directory import RunDirectory
from trainer.runs.manifest import Manifest

Weights = Mapping[str, np.ndarray[Any, Any]]
"""The weights of a model by path, such as dense/kernel."""


@dataclass(frozen=True, slots=True)
class RunStart:
    """A run starts or resumes.

    Attributes:
        run: The run directory; its log contains exactly the completed epochs.
        config: The resolved config.
        manifest: The manifest at this point.
    """

    run: RunDirectory
    config: Config
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class EpochLogs:
    """The logs of an epoch.

    Attributes:
        number: Number of the epoch, from 1.
        learning_rate: Learning rate at the end of the epoch.
        metrics: `loss` and metrics; on validation rows with the prefix `val_`.
        at_seconds: End of the epoch in seconds since 1970.
        weights: The weights, if a tracker wants them; else None.
    """

    number: int
    learning_rate: float
    metrics: Mapping[str, float]
    at_seconds: float
    weights: Weights | None = None


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run has ended and its files are written.

    Attributes:
        status: How the run ended.
        epoch: The best epoch, which was evaluated; 0 if none.
        metrics: Metrics of the evaluations, such as test_accuracy.
        weights_sha256: Hash of the evaluated weights.
    """

    status: Literal["finished", "failed", "stopped"]
    epoch: int
    metrics: Mapping[str, float]
    weights_sha256: str | None


class Tracker(Protocol):
    """An experiment tracker. Any exception that it raises disables the tracker, never the run."""

    def wants_weights(self, epoch: int) -> bool:
        """Return whether the tracker needs the weights of an epoch."""
        ...

    def on_run_start(self, start: RunStart) -> None:
        """Handle the start or resume of the run; called once, first."""
        ...

    def on_epoch_end(self, epoch: EpochLogs) -> None:
        """Handle the end of an epoch."""
        ...

    def on_run_end(self, end: RunEnd) -> None:
        """Handle the end of the run; called once, last."""
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...
