"""The trackers of a run: a tracker that fails is reported once and disabled; it never stops the run."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec

from trainer.config.schema import Config
from trainer.config.tracking import TensorBoard
from trainer.errors import Problem
from trainer.packages import install_command
from trainer.runs.directory import RunDirectory
from trainer.runs.listing import summarize
from trainer.runs.manifest import Manifest
from trainer.runs.process import this_process
from trainer.tracking.background import BackgroundTracker
from trainer.tracking.mlflow_tracker import MlflowTracker
from trainer.tracking.tensorboard_tracker import TensorBoardTracker
from trainer.tracking.tracker import EpochLogs, RunEnd, RunStart, Tracker, Weights

_LOG = logging.getLogger(__name__)
"""Logs immediately what is also collected in `Trackers.warnings`."""
_EXTRAS = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}


class Trackers:
    """All trackers of a run, by display name; their exceptions are caught."""

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._trackers = dict(trackers)
        self.warnings: list[str] = []
        """A warning for each tracker that was disabled."""

    def __bool__(self) -> bool:
        """Whether any tracker is enabled."""
        return bool(self._trackers)

    def on_run_start(self, run: RunDirectory, config: Config, manifest: Manifest) -> None:
        """Notify the trackers that the run starts or resumes."""
        start = RunStart(run, config, manifest)
        self._notify(lambda tracker: tracker.on_run_start(start))

    def on_epoch_end(
        self,
        number: int,
        learning_rate: float,
        metrics: Mapping[str, float],
        weights: Callable[[], Weights],
    ) -> None:
        """Notify the trackers that an epoch has ended.

        Args:
            number: Number of the epoch, from 1.
            learning_rate: Learning rate at the end of the epoch.
            metrics: Metrics as in the run's log.
            weights: Called if a tracker wants the weights; its exceptions propagate.
        """
        if not self._trackers:
            return
        # Outside `_notify`: an error in the model must not disable a tracker.
        needs_weights = any(tracker.wants_weights(number) for tracker in self._trackers.values())
        epoch = EpochLogs(
            number, learning_rate, dict(metrics), time.time(), weights() if needs_weights else None
        )
        self._notify(lambda tracker: tracker.on_epoch_end(epoch))

    def on_run_end(self, run: RunDirectory, manifest: Manifest) -> None:
        """Notify the trackers that the run has ended, and wait for those that are behind.

        Ctrl-C ends only the waiting.
        """
        if not self._trackers:
            return
        try:
            end = _end(run, manifest)
            self._notify(lambda tracker: tracker.on_run_end(end))
            self._notify(lambda tracker: tracker.close())
        except KeyboardInterrupt:
            for name in list(self._trackers):
                self._disable(name, "stopped by Ctrl-C while uploading")
        self._trackers.clear()

    def _notify(self, action: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                action(tracker)
            except Exception as error:
                self._disable(name, _error_text(error))

    def _disable(self, name: str, reason: str) -> None:
        tracker = self._trackers.pop(name)
        if isinstance(tracker, BackgroundTracker):
            tracker.abandon()
        else:
            with suppress(Exception):
                tracker.close()
        text = f"{name} is disabled for the rest of this run: {reason}"
        self.warnings.append(text)
        _LOG.warning(text)


def make_trackers(config: Config) -> Trackers:
    """Create the trackers that a config enables."""
    trackers: dict[str, Tracker] = {}
    tensorboard, mlflow = config.track.tensorboard, config.track.mlflow
    if tensorboard:
        trackers["TensorBoard"] = TensorBoardTracker(
            tensorboard if isinstance(tensorboard, TensorBoard) else TensorBoard()
        )
    if mlflow is not None:
        trackers["MLflow"] = BackgroundTracker(MlflowTracker(mlflow))
    return Trackers(trackers)


def warn_once() -> None:
    """Log each warning once in this process: a worker's models all fail at the same server."""
    logged: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        is_known = text in logged
        logged.add(text)
        return not is_known

    _LOG.addFilter(is_new)


def tracking_problems(config: Config) -> Iterator[Problem]:
    """Yield problems for packages that trackers need and that are not installed."""
    tensorboard, mlflow = config.track.tensorboard, config.track.mlflow
    configured = {"tensorboard": bool(tensorboard), "mlflow": mlflow is not None}
    for extra, is_configured in configured.items():
        packages = _EXTRAS[extra]
        if mlflow is not None and "://" in mlflow.uri and not mlflow.uri.startswith("sqlite"):
            packages = packages[:1]
        missing = [name for name in packages if find_spec(name) is None]
        if is_configured and missing:
            key = f"track.{extra}"
            yield Problem(
                "",
                f"the package {missing[0]} to be installed",
                "that it is not",
                f"{install_command(extra)}, or remove {key}",
                key,
            )


def tracker_locations(config: Config) -> dict[str, str]:
    """Return each tracker's destination as text."""
    destinations: dict[str, str] = {}
    tensorboard, mlflow = config.track.tensorboard, config.track.mlflow
    if tensorboard:
        destinations["TensorBoard"] = "tensorboard/ in the run directory"
        if isinstance(tensorboard, TensorBoard) and tensorboard.histograms is not None:
            destinations["TensorBoard"] += f", histograms every {tensorboard.histograms}"
    if mlflow is not None:
        experiment = mlflow.experiment or config.name
        destinations["MLflow"] = f"{_without_password(mlflow.uri)}, experiment {experiment}"
    return destinations


def _end(run: RunDirectory, manifest: Manifest) -> RunEnd:
    summary = summarize(run, datetime.now(UTC), this_process())
    metrics = {
        f"{split}_{name}": value
        for split, values in summary.metrics.items()
        for name, value in values.items()
        if value is not None
    }
    status = "stopped" if manifest.status == "running" else manifest.status
    return RunEnd(status, manifest.best_epoch or 0, metrics, manifest.weights_sha256)


def _error_text(error: Exception) -> str:
    failed = re.search(r"request to (\w+://[^/\s]+)\S* failed .*Caused by (\w+)", str(error))
    if failed is not None:
        return f"no response from {_without_password(failed[1])} ({failed[2]})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = _without_password(f"{type(error).__name__}: {lines[0]}" if lines else repr(error))
    return text if len(text) <= 300 else f"{text[:299]}…"


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//…@", text)
