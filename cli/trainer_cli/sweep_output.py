"""Output of `sweep`, and of `resume` for a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import ResourceError, StorageError, TrainerError, command_text, pluralize
from trainer.report.text import duration
from trainer_cli import console
from trainer_cli.fit_output import data_summary, metric_texts, print_metrics, print_remarks
from trainer_cli.following import Signals, View
from trainer_cli.sweep_progress import SweepProgress

if TYPE_CHECKING:
    from trainer.sweep.leaderboard import TrialRow
    from trainer.workflows.events import SweepEvent, SweepFinished


class SweepView(View["SweepFinished"]):
    """Shows a sweep."""

    def __init__(self, stderr: console.Console, *, json: bool = False) -> None:
        self._stderr, self._json = stderr, json
        self._progress = SweepProgress(stderr)

    def show(self, event: SweepEvent, signals: Signals) -> SweepFinished | None:
        from trainer.sweep.trials import BatchPlanned, TrialEnded, TrialPackEpoch, TrialPackStarted
        from trainer.workflows.events import PhaseStarted, SweepFinished, SweepStarted

        match event:
            case PhaseStarted():
                self._progress.phase_started(event.text)
            case SweepStarted():
                signals.training = True
                _print_start(event, self._stderr)
                self._progress.sweep_started(event)
            case BatchPlanned():
                self._progress.batch_started(event)
            case TrialPackStarted():
                self._progress.pack_started(event)
            case TrialPackEpoch():
                self._progress.epoch_ended(event)
            case TrialEnded():
                self._progress.trial_ended(event)
            case SweepFinished():
                self.close()
                _print_end(event, self._stderr)
                return event
        return None

    def failed(self, error: TrainerError) -> None:
        """Print how to resume the sweep if memory or disk space was exhausted."""
        if isinstance(error, ResourceError | StorageError) and self._progress.sweep is not None:
            self._stderr.print(_resume_hint(self._progress.sweep))

    def close(self) -> None:
        self._progress.close()

    def print_result(self, finished: SweepFinished) -> None:
        if self._json:
            console.json_result(_result_json(finished))
        else:
            console.result(str(finished.sweep))


def _result_json(finished: SweepFinished) -> dict[str, Any]:
    winner = finished.winner
    report = finished.sweep / "report.html"
    return {
        "sweep": str(finished.sweep),
        "status": finished.status,
        "objective": finished.leaderboard.objective,
        "winner": None if winner is None else _trial_json(winner, finished.sweep),
        "metrics": finished.metrics,
        "trials": [_trial_json(row, finished.sweep) for row in finished.leaderboard.rows],
        "seconds": round(finished.seconds, 3),
        "report": str(report) if report.is_file() else None,
    }


def _trial_json(row: TrialRow, sweep: Path) -> dict[str, Any]:
    """Return a trial as JSON, with the path of its run; None if the run was not kept."""
    values = row.to_json()
    run = None if values["run"] is None else sweep / values["run"]
    return {**values, "run": str(run) if run is not None and run.is_dir() else None}


def _print_start(event: Any, stderr: console.Console) -> None:
    plan = event.plan
    stderr.print(data_summary(plan))
    print_remarks(plan, stderr, *([event.warning] if event.warning else []))
    count = "trials" if event.trials is None else pluralize(event.trials, "trial")
    jobs = pluralize(event.jobs, "job")
    objective = f"{event.leaderboard.objective}, {event.leaderboard.direction} is better"
    stderr.print(f"{event.search} search: {count}, {jobs}; objective: {objective}")
    done = sum(row.ended is not None for row in event.leaderboard.rows)
    if done:
        stderr.print(f"already done: {pluralize(done, 'trial')}")


def _print_end(event: SweepFinished, stderr: console.Console) -> None:
    from trainer.report.sweeps.content import read_sweep
    from trainer.report.sweeps.text import best_table, legend_table, listed_text
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
        run = directory.trial(event.winner.trial.number)
        print_metrics(run, metric_texts(event.metrics), stderr)
        stderr.print()
        if directory.report.is_file():
            stderr.print(f"report: {directory.report}")
    if event.status == "stopped":
        stderr.print(_resume_hint(event.sweep))


def _resume_hint(sweep: Path) -> str:
    return f"resume with: {command_text('resume', sweep)}"
