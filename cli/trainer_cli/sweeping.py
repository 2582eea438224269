"""The output of `sweep`, and of `resume` for a sweep: its start, its end, its result."""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import ResourceError, StorageError, command_text
from trainer.report.text import Table, counted, duration, number
from trainer_cli import console
from trainer_cli.sweep_progress import SweepProgress
from trainer_cli.training import Signals, data_line, say_choices

if TYPE_CHECKING:
    from trainer.sweep.standing import TrialRow
    from trainer.workflows.sweep import Event, SweepFinished


def follow_sweep(
    events: Generator[Event, None, None], says: console.Console, signals: Signals
) -> SweepFinished:
    """Run a sweep to its end, saying what happens."""
    from trainer.sweep.trials import BatchPlanned, EpochDone, PackBegun, TrialEnded
    from trainer.workflows.sweep import Phase, SweepFinished, SweepStarted

    shown = SweepProgress(says)
    try:
        for event in events:
            match event:
                case Phase():
                    shown.phase(event.text)
                case SweepStarted():
                    signals.training = True
                    _say_start(event, says)
                    shown.started(event)
                case BatchPlanned():
                    shown.planned(event)
                case PackBegun():
                    shown.pack(event)
                case EpochDone():
                    shown.epoch(event)
                case TrialEnded():
                    shown.ended(event)
                case SweepFinished():
                    shown.close()
                    _say_end(event, says)
                    return event
    except (ResourceError, StorageError):
        shown.close()
        if shown.sweep is not None:
            says.say(_resumes(shown.sweep))
        raise
    finally:
        signals.training = False
        shown.close()
        events.close()
    raise AssertionError("a sweep ends with SweepFinished")


def give_sweep_result(finished: SweepFinished, *, json: bool) -> None:
    """The result on stdout."""
    if not json:
        console.result(str(finished.sweep))
        return
    winner = finished.winner
    report = finished.sweep / "report.html"
    console.json_result(
        {
            "sweep": str(finished.sweep),
            "status": "stopped" if finished.reason == "interrupted" else "finished",
            "objective": finished.standing.objective,
            "winner": None if winner is None else _facts(winner, finished.sweep),
            "metrics": finished.metrics,
            "trials": [_facts(row, finished.sweep) for row in finished.standing.rows],
            "seconds": round(finished.seconds, 3),
            "report": str(report) if report.is_file() else None,
        }
    )


def _facts(row: TrialRow, sweep: Path) -> dict[str, Any]:
    """A trial's row, its run as a path that can be used; None where it was not kept."""
    facts = row.facts()
    run = None if facts["run"] is None else sweep / facts["run"]
    return {**facts, "run": str(run) if run is not None and run.is_dir() else None}


def _say_start(event: Any, says: console.Console) -> None:
    plan = event.plan
    says.say(data_line(plan))
    for warning in plan.warnings:
        console.warn(warning)
    if event.warning:
        console.warn(event.warning)
    for note in plan.notes:
        says.say(f"note: {note}")
    count = "trials" if event.trials is None else counted(event.trials, "trial")
    jobs = counted(event.jobs, "job")
    objective = f"{event.standing.objective}, {event.standing.direction} is better"
    says.say(f"{event.search} search: {count}, {jobs}; objective: {objective}")
    done = sum(row.ended is not None for row in event.standing.rows)
    if done:
        says.say(f"already ended: {counted(done, 'trial')}")


def _say_end(event: SweepFinished, says: console.Console) -> None:
    from trainer.report.choices import read_choices
    from trainer.report.sweeps.facts import read_sweep
    from trainer.report.sweeps.text import best_table, legend_table, listed_text
    from trainer.runs.directory import RunDirectory
    from trainer.runs.sweeps import SweepDirectory

    standing, directory = event.standing, SweepDirectory(event.sweep)
    done = sum(row.ended is not None for row in standing.rows)
    over = "; sweep.max_seconds are over" if event.reason == "seconds" else ""
    says.say(f"{counted(done, 'trial')} in {duration(event.seconds)}{over}")
    if standing.ranks:
        labels = read_sweep(directory).labels
        table = best_table(standing, labels)
        says.table(table)
        more = listed_text(len(table.rows), len(standing.rows), event.sweep)
        if more:
            says.say(more)
        if labels.legend():
            says.say()
            says.table(legend_table(labels))
    if event.winner is not None and event.metrics:
        says.say()
        says.say(f"trial {event.winner.trial.number}, evaluated on each split:")
        splits = list(event.metrics)
        names = list(event.metrics[splits[0]])
        choices = read_choices(RunDirectory(directory.trial(event.winner.trial.number)))
        rows = tuple(
            (
                choices.labels.of(name),
                *(number(event.metrics[split].get(name, math.nan)) for split in splits),
            )
            for name in names
        )
        right = frozenset(range(1, len(splits) + 1))
        says.table(Table("", ("", *splits), rows, right))
        say_choices(choices, says)
        says.say()
        if directory.report.is_file():
            says.say(f"report: {directory.report}")
    if event.reason == "interrupted":
        says.say(_resumes(event.sweep))


def _resumes(sweep: Path) -> str:
    return f"resume with: {command_text('resume', sweep)}"
