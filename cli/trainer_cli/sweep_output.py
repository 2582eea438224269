"""Output of `sweep`, and of `resume` for a sweep."""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import ResourceError, StorageError, command_text
from trainer.report.text import Table, duration, number, pluralize
from trainer_cli import console
from trainer_cli.fit_output import Signals, data_summary, print_choices
from trainer_cli.sweep_progress import SweepProgress

if TYPE_CHECKING:
    from trainer.sweep.leaderboard import TrialRow
    from trainer.workflows.sweep import Event, SweepFinished


def follow_sweep(
    events: Generator[Event, None, None], stderr: console.Console, signals: Signals
) -> SweepFinished:
    """Run a sweep to the end and print its progress."""
    from trainer.sweep.trials import BatchPlanned, TrialEnded, TrialPackEpoch, TrialPackStarted
    from trainer.workflows.sweep import PhaseStarted, SweepFinished, SweepStarted

    progress = SweepProgress(stderr)
    try:
        for event in events:
            match event:
                case PhaseStarted():
                    progress.phase(event.text)
                case SweepStarted():
                    signals.training = True
                    _print_start(event, stderr)
                    progress.started(event)
                case BatchPlanned():
                    progress.planned(event)
                case TrialPackStarted():
                    progress.pack(event)
                case TrialPackEpoch():
                    progress.epoch(event)
                case TrialEnded():
                    progress.ended(event)
                case SweepFinished():
                    progress.close()
                    _print_end(event, stderr)
                    return event
    except (ResourceError, StorageError):
        progress.close()
        if progress.sweep is not None:
            stderr.print(_resume_hint(progress.sweep))
        raise
    finally:
        signals.training = False
        progress.close()
        events.close()
    raise AssertionError("a sweep ends with SweepFinished")


def print_sweep_result(finished: SweepFinished, *, json: bool) -> None:
    """Print the result on stdout."""
    if not json:
        console.result(str(finished.sweep))
        return
    winner = finished.winner
    report = finished.sweep / "report.html"
    console.json_result(
        {
            "sweep": str(finished.sweep),
            "status": "stopped" if finished.reason == "interrupted" else "finished",
            "objective": finished.leaderboard.objective,
            "winner": None if winner is None else _trial_json(winner, finished.sweep),
            "metrics": finished.metrics,
            "trials": [_trial_json(row, finished.sweep) for row in finished.leaderboard.rows],
            "seconds": round(finished.seconds, 3),
            "report": str(report) if report.is_file() else None,
        }
    )


def _trial_json(row: TrialRow, sweep: Path) -> dict[str, Any]:
    """Return a trial as JSON, with the path of its run; None if the run was not kept."""
    values = row.to_json()
    run = None if values["run"] is None else sweep / values["run"]
    return {**values, "run": str(run) if run is not None and run.is_dir() else None}


def _print_start(event: Any, stderr: console.Console) -> None:
    plan = event.plan
    stderr.print(data_summary(plan))
    for warning in plan.warnings:
        console.warn(warning)
    if event.warning:
        console.warn(event.warning)
    for note in plan.notes:
        stderr.print(f"note: {note}")
    count = "trials" if event.trials is None else pluralize(event.trials, "trial")
    jobs = pluralize(event.jobs, "job")
    objective = f"{event.leaderboard.objective}, {event.leaderboard.direction} is better"
    stderr.print(f"{event.search} search: {count}, {jobs}; objective: {objective}")
    done = sum(row.ended is not None for row in event.leaderboard.rows)
    if done:
        stderr.print(f"already done: {pluralize(done, 'trial')}")


def _print_end(event: SweepFinished, stderr: console.Console) -> None:
    from trainer.report.decisions import read_decision_summary
    from trainer.report.sweeps.content import read_sweep
    from trainer.report.sweeps.text import best_table, legend_table, listed_text
    from trainer.runs.directory import RunDirectory
    from trainer.runs.sweeps import SweepDirectory

    leaderboard, directory = event.leaderboard, SweepDirectory(event.sweep)
    done = sum(row.ended is not None for row in leaderboard.rows)
    over = "; sweep.max_seconds was reached" if event.reason == "seconds" else ""
    stderr.print(f"{pluralize(done, 'trial')} in {duration(event.seconds)}{over}")
    if leaderboard.ranks:
        labels = read_sweep(directory).labels
        table = best_table(leaderboard, labels)
        stderr.table(table)
        more = listed_text(len(table.rows), len(leaderboard.rows), event.sweep)
        if more:
            stderr.print(more)
        if labels.legend():
            stderr.print()
            stderr.table(legend_table(labels))
    if event.winner is not None and event.metrics:
        stderr.print()
        stderr.print(f"metrics of trial {event.winner.trial.number}:")
        splits = list(event.metrics)
        names = list(event.metrics[splits[0]])
        choices = read_decision_summary(RunDirectory(directory.trial(event.winner.trial.number)))
        rows = tuple(
            (
                choices.labels.of(name),
                *(number(event.metrics[split].get(name, math.nan)) for split in splits),
            )
            for name in names
        )
        right = frozenset(range(1, len(splits) + 1))
        stderr.table(Table("", ("", *splits), rows, right))
        print_choices(choices, stderr)
        stderr.print()
        if directory.report.is_file():
            stderr.print(f"report: {directory.report}")
    if event.reason == "interrupted":
        stderr.print(_resume_hint(event.sweep))


def _resume_hint(sweep: Path) -> str:
    return f"resume with: {command_text('resume', sweep)}"
