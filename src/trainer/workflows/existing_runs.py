"""Existing runs: find the newest run of a config, and read how runs ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import Any, Literal

from trainer.config.dump import resolved_settings
from trainer.config.load import LoadedConfig
from trainer.errors import InputError, Problem, RunError
from trainer.prediction.trained_runs import read_run_config
from trainer.runs.directory import RunDirectory
from trainer.runs.files import to_jsonable
from trainer.runs.findings import read_findings
from trainer.runs.listing import summarize
from trainer.runs.log import read_log
from trainer.runs.process import this_process
from trainer.runs.search import find_runs, is_run
from trainer.workflows.events import MemberEnded, MembersFinished, RunFinished


def find_run(loaded: LoadedConfig, runs: Path) -> RunDirectory | None:
    """Return the newest run of this config that has a checkpoint or members, or None."""
    # The config of a run contains the values chosen for `auto`.
    chosen = [
        name
        for name in ("threads", "jit_compile")
        if getattr(loaded.config.runtime, name) == "auto"
    ]
    expected = _without(to_jsonable(resolved_settings(loaded.config)), chosen)
    newest: tuple[datetime, RunDirectory] | None = None
    for path in find_runs(runs / loaded.config.name):
        run = RunDirectory(path)
        has_checkpoint = any(name.startswith("last") for name in run.checkpoint_names())
        if not (has_checkpoint or run.has_members):
            continue
        try:
            settings = _without(to_jsonable(resolved_settings(read_run_config(run).config)), chosen)
            started = run.read_manifest().started
        except InputError:
            continue
        if settings == expected and (newest is None or started > newest[0]):
            newest = (started, run)
    return None if newest is None else newest[1]


def read_finished(run: RunDirectory) -> RunFinished | MembersFinished | None:
    """Return how a finished run ended, with or without members; None if it can be resumed.

    Raises:
        RunError: The run is damaged.
    """
    summary = summarize(run, datetime.now(UTC), this_process())
    manifest = summary.manifest
    if summary.problems:
        raise RunError(summary.problems)
    if manifest is None or manifest.status != "finished" or manifest.is_out_of_time:
        return None
    findings = read_findings(run)
    sentence = "" if findings is None else findings.sentence
    if not run.has_members:
        return RunFinished.from_manifest(run, manifest, read_metrics(run), sentence=sentence)
    members = [path for path in sorted(run.members.iterdir()) if is_run(path)]
    return MembersFinished(
        run=run.path,
        status="finished",
        stopped_because=manifest.stopped_because or "",
        members=tuple(read_ended_member(int(path.name), RunDirectory(path)) for path in members),
        aggregates=summary.intervals,
        sentence=sentence,
        seconds=0.0,
    )


def failed_member(number: int, run: Path, problems: Sequence[Problem]) -> MemberEnded:
    """Return the end of a member that cannot be trained, or whose training failed."""
    return MemberEnded(
        number=number,
        run=run,
        status="failed",
        epochs=0,
        best_epoch=0,
        best={},
        stopped_because="failed",
        metrics={},
        problems=tuple(problems),
    )


def read_ended_member(number: int, run: RunDirectory) -> MemberEnded:
    """Return how a member ended, from its run directory.

    Raises:
        RunError: The run is damaged.
    """
    manifest = run.read_manifest()
    best = next(
        (row for row in read_log(run.metrics) if row.get("epoch") == manifest.best_epoch), {}
    )
    status: Literal["finished", "failed", "stopped"] = "finished"
    if manifest.status == "failed":
        status = "failed"
    elif not manifest.best_epoch:
        # Time ran out within the first epoch.
        status = "stopped"
    return MemberEnded(
        number=number,
        run=run.path,
        status=status,
        epochs=manifest.epochs,
        best_epoch=manifest.best_epoch or 0,
        best={
            name: nan if value is None else float(value)
            for name, value in best.items()
            if name not in {"epoch", "step", "learning_rate"}
        },
        stopped_because=manifest.stopped_because or "",
        metrics=read_metrics(run),
        problems=manifest.problems,
    )


def read_metrics(run: RunDirectory) -> dict[str, dict[str, float]]:
    """Return split → metric → value of an evaluated run, NaN where a metric is undefined.

    Raises:
        RunError: An evaluation is damaged.
    """
    return {
        split: {name: nan if value is None else value for name, value in evaluation.metrics.items()}
        for split, evaluation in run.read_evaluations().items()
    }


def _without(settings: dict[str, Any], chosen: Sequence[str]) -> dict[str, Any]:
    runtime = {name: value for name, value in settings["runtime"].items() if name not in chosen}
    return {**settings, "runtime": runtime}
