"""What runs there are: one small summary each, whatever state they are in.

Owns: reading a summary, the order. Does not own: what a table of them looks like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from trainer.errors import Problem, RunError
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Interval, Intervals, Metrics, read_evaluation
from trainer.runs.log import last_epoch
from trainer.runs.manifest import Manifest, ShownStatus, shown_status
from trainer.runs.process import Process, this_process
from trainer.runs.search import find_runs


@dataclass(frozen=True)
class RunSummary:
    """A run in a list.

    Attributes:
        path: The run directory.
        name: The experiment's name; of a damaged run the name of the folder it lies in.
        status: The manifest's, or `dead` or `damaged`.
        manifest: The manifest; None when it is damaged.
        metrics: Metrics of each evaluated split.
        intervals: Their intervals, where the run has members.
        problems: What is damaged.
        rows: How many rows of each split were evaluated, where the evaluation has it.
    """

    path: Path
    name: str
    status: ShownStatus
    manifest: Manifest | None
    metrics: Metrics
    intervals: Intervals
    problems: tuple[Problem, ...]
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def started(self) -> datetime | None:
        """When it began; of a damaged run by its directory's name."""
        if self.manifest is not None:
            return self.manifest.started
        try:
            return datetime.strptime(self.path.name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return None


def list_runs(root: Path, now: datetime, here: Process | None = None) -> list[RunSummary]:
    """The runs in `root` or in its folders, the newest first; a damaged run is one of them.

    Args:
        root: A directory of runs, the folder of one name, or a run; without it there are none.
        now: With a time zone.
        here: The process that asks; this one unless stated.
    """
    asking = this_process() if here is None else here
    summaries = [summarise(RunDirectory(path), now, asking) for path in find_runs(root)]
    first = datetime.min.replace(tzinfo=UTC)
    return sorted(summaries, key=lambda run: (run.started or first, run.path.name), reverse=True)


def summarise(run: RunDirectory, now: datetime, here: Process) -> RunSummary:
    """The summary of one run; what is damaged in it is told, not raised."""
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
        # The manifest of a run that trains, or died, is older than its log.
        manifest = replace(manifest, epochs=max(manifest.epochs, last_epoch(run.metrics)))
    return RunSummary(
        path=run.path,
        name=manifest.name,
        status=shown_status(manifest, now, here, heartbeat(run)),
        manifest=manifest,
        metrics=metrics,
        intervals=intervals,
        rows=rows,
        problems=tuple(problems),
    )


def heartbeat(run: RunDirectory) -> datetime | None:
    """When the process that writes the run last said so; None when none holds its lock."""
    try:
        return datetime.fromtimestamp(run.lock.stat().st_mtime, UTC)
    except OSError:
        return None
