"""What runs there are: one small summary each, whatever state they are in.

Owns: reading a summary, the order. Does not own: what a table of them looks like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainer.errors import Problem, RunError
from trainer.runs import readers
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_json
from trainer.runs.log import last_epoch
from trainer.runs.manifest import Manifest, ShownStatus, shown_status
from trainer.runs.process import Process, this_process
from trainer.runs.search import find_runs

Metrics = Mapping[str, Mapping[str, float | None]]
"""Split → metric → value; None where the value is not defined."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What the members of a run scored: mean, standard deviation, the ends of the mean's interval.

    Of one member there is a mean alone.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None


Intervals = Mapping[str, Mapping[str, Interval]]
"""Split → metric → interval; of a run with repeats or folds."""


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
    """

    path: Path
    name: str
    status: ShownStatus
    manifest: Manifest | None
    metrics: Metrics
    intervals: Intervals
    problems: tuple[Problem, ...]

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
    metrics: dict[str, dict[str, float | None]] = {}
    intervals: dict[str, dict[str, Interval]] = {}
    for path in run.evaluation_files():
        try:
            evaluation = read_json(path)
            metrics[path.stem] = _metrics(evaluation)
            intervals[path.stem] = _intervals(evaluation)
        except RunError as error:
            problems.extend(error.problems)
        except readers.DamageError as error:
            problems.append(Problem(str(path), error.expected, error.found))
        except (ValueError, OverflowError) as error:
            problems.append(Problem(str(path), "an evaluation", f"damage ({error})"))
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
        problems=tuple(problems),
    )


def heartbeat(run: RunDirectory) -> datetime | None:
    """When the process that writes the run last said so; None when none holds its lock."""
    try:
        return datetime.fromtimestamp(run.lock.stat().st_mtime, UTC)
    except OSError:
        return None


def _metrics(evaluation: Any) -> dict[str, float | None]:
    match evaluation:
        case {"metrics": dict(metrics)}:
            return {
                str(name): None if value is None else float(value)
                for name, value in metrics.items()
                if value is None or isinstance(value, int | float)
            }
        case _:
            raise ValueError("no metrics")


def _intervals(evaluation: Any) -> dict[str, Interval]:
    match evaluation:
        case {"intervals": intervals}:
            found = _FIGURES(intervals)
        case _:
            found = {}
    return {name: Interval(**ends) for name, ends in found.items() if ends["mean"] is not None}


_ENDS = dict.fromkeys(("mean", "sd", "low", "high"), readers.maybe(readers.number))
_FIGURES = readers.by_name(lambda value: readers.read_fields(value, _ENDS))
