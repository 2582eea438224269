"""The trackers of one run, none of which can stop it: one that fails is told of once, and let go.

Owns: which trackers a config asks for, what becomes of one that fails. Does not own: a tracker
(`event_files`, `mlflow_runs`).
"""

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
"""It says at once what is also in `Trackers.warnings`."""
_EXTRAS = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}


class Trackers:
    """All trackers of a run; nothing that one of them raises comes out."""

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        """Trackers by the names they are called by."""
        self._trackers = dict(trackers)
        self.warnings: list[str] = []
        """What a person should know, a line for each tracker that was let go."""

    def __bool__(self) -> bool:
        """Whether there is one left to tell."""
        return bool(self._trackers)

    def started(self, run: RunDirectory, config: Config, manifest: Manifest) -> None:
        """The run begins or goes on."""
        start = RunStart(run, config, manifest)
        self._tell(lambda tracker: tracker.started(start))

    def epoch(
        self,
        number: int,
        learning_rate: float,
        measures: Mapping[str, float],
        weights: Callable[[], Weights],
    ) -> None:
        """An epoch is done.

        Args:
            number: From 1.
            learning_rate: At its end.
            measures: As in the run's log.
            weights: Called where a tracker wants them; what it raises comes out.
        """
        if not self._trackers:
            return
        # Not while a tracker is told: an error of the network's is none of the tracker's.
        wanted = any(tracker.wants_weights(number) for tracker in self._trackers.values())
        taken = weights() if wanted else None
        epoch = EpochLogs(number, learning_rate, dict(measures), time.time(), taken)
        self._tell(lambda tracker: tracker.epoch(epoch))

    def finished(self, run: RunDirectory, manifest: Manifest) -> None:
        """The run has ended, its files are written; waits for trackers that are behind.

        Ctrl-C ends the waiting, and no more than that.
        """
        if not self._trackers:
            return
        try:
            end = _end(run, manifest)
            self._tell(lambda tracker: tracker.finished(end))
            self._tell(lambda tracker: tracker.close())
        except KeyboardInterrupt:
            for name in list(self._trackers):
                self._let_go(name, "stopped by Ctrl-C while it was waited for")
        self._trackers.clear()

    def _tell(self, action: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                action(tracker)
            except Exception as error:
                self._let_go(name, _words(error))

    def _let_go(self, name: str, why: str) -> None:
        tracker = self._trackers.pop(name)
        if isinstance(tracker, BackgroundTracker):
            tracker.abandon()
        else:
            with suppress(Exception):
                tracker.close()
        text = f"{name} is told no more of this run, which goes on without it: {why}"
        self.warnings.append(text)
        _LOG.warning(text)


def make_trackers(config: Config) -> Trackers:
    """The trackers that a config asks for, not told of anything yet."""
    found: dict[str, Tracker] = {}
    board, store = config.track.tensorboard, config.track.mlflow
    if board:
        found["TensorBoard"] = TensorBoardTracker(
            board if isinstance(board, TensorBoard) else TensorBoard()
        )
    if store is not None:
        found["MLflow"] = BackgroundTracker(MlflowTracker(store))
    return Trackers(found)


def warn_once() -> None:
    """Let this process say each text once: of a worker's many networks, all fail at the same server."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        is_known = text in said
        said.add(text)
        return not is_known

    _LOG.addFilter(is_new)


def tracking_problems(config: Config) -> Iterator[Problem]:
    """Packages that trackers need and that are not installed."""
    board, store = config.track.tensorboard, config.track.mlflow
    wanted = {"tensorboard": bool(board), "mlflow": store is not None}
    for extra, is_wanted in wanted.items():
        packages = _EXTRAS[extra]
        if store is not None and "://" in store.uri and not store.uri.startswith("sqlite"):
            packages = packages[:1]
        missing = [name for name in packages if find_spec(name) is None]
        if is_wanted and missing:
            key = f"track.{extra}"
            yield Problem(
                "",
                f"the package {missing[0]}",
                "it is not installed",
                f"{install_command(extra)}, or remove {key}",
                key,
            )


def tracker_locations(config: Config) -> dict[str, str]:
    """Tracker → where it keeps what it is told, in words."""
    found: dict[str, str] = {}
    board, store = config.track.tensorboard, config.track.mlflow
    if board:
        found["TensorBoard"] = "the run's folder tensorboard"
        if isinstance(board, TensorBoard) and board.histograms is not None:
            found["TensorBoard"] += f", histograms every {board.histograms}"
    if store is not None:
        experiment = store.experiment or config.name
        found["MLflow"] = f"{_without_password(store.uri)}, experiment {experiment}"
    return found


def _end(run: RunDirectory, manifest: Manifest) -> RunEnd:
    summary = summarize(run, datetime.now(UTC), this_process())
    metrics = {
        f"{split}_{name}": value
        for split, measured in summary.metrics.items()
        for name, value in measured.items()
        if value is not None
    }
    status = "stopped" if manifest.status == "running" else manifest.status
    return RunEnd(status, manifest.best_epoch or 0, metrics, manifest.weights_sha256)


def _words(error: Exception) -> str:
    unanswered = re.search(r"request to (\w+://[^/\s]+)\S* failed .*Caused by (\w+)", str(error))
    if unanswered is not None:
        return f"no answer from {_without_password(unanswered[1])} ({unanswered[2]})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = _without_password(f"{type(error).__name__}: {lines[0]}" if lines else repr(error))
    return text if len(text) <= 300 else f"{text[:299]}…"


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//…@", text)
