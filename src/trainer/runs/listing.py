"""List runs: a short summary of each, in any state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from trainer.errors import Problem, RunError
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Interval, Intervals, Metrics, read_evaluation
from trainer.runs.log import last_epoch
from trainer.runs.manifest import DisplayStatus, Manifest, display_status
from trainer.runs.process import ProcessIdentity, this_process
from trainer.runs.search import find_runs


@dataclass(frozen=True)
class RunSummary:
    """Summary of a run.

    Attributes:
        path: The run directory.
        name: Name of the experiment; for a damaged run, the name of the parent folder.
        status: The manifest's status, or `dead` or `damaged`.
        manifest: The manifest; None if damaged.
        metrics: Metrics of each evaluated split.
        intervals: Their intervals, if the run has members.
        problems: Problems with damaged files.
        rows: Split → number of evaluated rows, if recorded.
    """

    path: Path
    name: str
    status: DisplayStatus
    manifest: Manifest | None
    metrics: Metrics
    intervals: Intervals
    problems: tuple[Problem, ...]
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def started(self) -> datetime | None:
        """Start time; for a damaged run, taken from the directory's name."""
        if self.manifest is not None:
            return self.manifest.started
        try:
            return datetime.strptime(self.path.name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return None


def list_runs(
    root: Path, now: datetime, observer: ProcessIdentity | None = None
) -> list[RunSummary]:
    """Return the runs in `root` or in its folders, newest first, including damaged ones.

    Args:
        root: The folder of runs, the folder of one experiment, or a run; may be missing.
        now: Must have a time zone.
        observer: The process that liveness is checked from; defaults to this one.
    """
    observer = this_process() if observer is None else observer
    summaries = [summarize(RunDirectory(path), now, observer) for path in find_runs(root)]
    earliest = datetime.min.replace(tzinfo=UTC)
    return sorted(summaries, key=lambda run: (run.started or earliest, run.path.name), reverse=True)


def summarize(run: RunDirectory, now: datetime, observer: ProcessIdentity) -> RunSummary:
    """Return the summary of a run; damaged files become `problems`, not errors."""
    problems: list[Problem] = []
    metrics: dict[str, Mapping[str, float | None]] = {}
    intervals: dict[str, Mapping[str, Interval]] = {}
    rows: dict[str, int] = {}
    for path in run.evaluation_files():
        try:
            evaluation = read_evaluation(path)
        except RunError as error:
            problems.extend(error.problems)
            continue
        metrics[path.stem] = evaluation.metrics
        intervals[path.stem] = {
            name: interval
            for name, interval in evaluation.intervals.items()
            if interval.mean is not None
        }
        if evaluation.rows is not None:
            rows[path.stem] = evaluation.rows
    try:
        manifest = run.read_manifest()
    except RunError as error:
        return RunSummary(
            path=run.path,
            name=run.path.absolute().parent.name,
            status="damaged",
            manifest=None,
            metrics=metrics,
            intervals=intervals,
            rows=rows,
            problems=(*error.problems, *problems),
        )
    if manifest.status == "running":
        # The manifest of a running or dead run is older than its log.
        manifest = replace(manifest, epochs=max(manifest.epochs, last_epoch(run.metrics)))
    return RunSummary(
        path=run.path,
        name=manifest.name,
        status=display_status(manifest, now, observer, heartbeat(run)),
        manifest=manifest,
        metrics=metrics,
        intervals=intervals,
        rows=rows,
        problems=tuple(problems),
    )


def heartbeat(run: RunDirectory) -> datetime | None:
    """Return the last heartbeat of the process that writes the run; None if the run is not locked."""
    try:
        return datetime.fromtimestamp(run.lock.stat().st_mtime, UTC)
    except OSError:
        return None
