"""Sweeps and their trials as tables, JSON and CSV for `trainer ls`.

Trials are listed from the journal of the sweep, so those that failed or were deleted are included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from trainer.report.csv_output import csv_lines
from trainer.report.listing import columns_table, problem_json
from trainer.report.query import Query, Selection, requested_names, select_from
from trainer.report.run_values import RunValues, finite_metrics, metric_names, with_requested_values
from trainer.report.settings import Value
from trainer.report.sweeps.content import SweepContent
from trainer.report.text import Table, age, cell, number
from trainer.runs.directory import RunDirectory
from trainer.runs.listing import RunSummary, summarize
from trainer.runs.process import this_process
from trainer.sweep.leaderboard import TrialRow

TRIAL_PROPERTIES = (
    "trial", "status", "objective", "epochs", "best_epoch", "seconds", "run", "reason",
)  # fmt: skip
"""Names of properties of a trial: `run` is the path of its run directory, if any."""
_MISSING = "–"


def select_trials(sweep: SweepContent, query: Query, now: datetime) -> Selection:
    """Select the trials that match a query, in its order; by default the best first.

    Raises:
        UsageError: No trial has a value for a name, or a value cannot be compared with the operand.
    """
    process = this_process()
    run_values = []
    for row in sweep.ranked:
        run = sweep.run_of(row)
        path = sweep.directory.trial(row.trial.number)
        summary = RunSummary(path, sweep.name, "finished", None, {}, {}, ())
        if run is not None:
            summary = summarize(RunDirectory(path), now, process)
        run_values.append(RunValues(summary, trial_values(sweep, row, summary)))
    trials = with_requested_values(
        run_values, list(requested_names(query)), TRIAL_PROPERTIES, "trial"
    )
    metrics = metric_names([trial.run for trial in run_values])
    objective = sweep.leaderboard.objective
    if objective:
        metrics |= {name: objective.removeprefix("val_") for name in ("objective", objective)}
    return select_from(trials, query, metrics)


def trial_values(sweep: SweepContent, row: TrialRow, run: RunSummary) -> dict[str, Value]:
    """Return the values of a trial by name: properties, metrics, searched settings."""
    properties = row.to_json()
    settings = properties.pop("settings")
    properties["run"] = str(run.path) if sweep.run_of(row) is not None else None
    objective = properties["objective"]
    if objective is not None and not math.isfinite(objective):
        properties["objective"] = objective = None
    values: dict[str, Value] = {
        name: value for name, value in properties.items() if value is not None and value != ""
    }
    if objective is not None and sweep.leaderboard.objective:
        values[sweep.leaderboard.objective] = objective
    return {**values, **finite_metrics(run), **settings}


def trials_table(sweep: SweepContent, trials: Sequence[RunValues], query: Query) -> Table:
    """Make a table of trials: number, status, objective, epochs, requested columns, settings."""
    if query.columns:
        return columns_table(trials, query.columns)
    objective = sweep.leaderboard.objective or "objective"
    default = ("trial", "status", objective, "best_epoch", "epochs")
    searched = {key for dimension in sweep.dimensions for key in dimension.keys}
    extra = [name for name in query.names if name not in {*default, "objective", *searched}]
    table = columns_table(trials, (*default, *extra))
    settings = {row.trial.number: row.trial.settings for row in sweep.rows}
    rows = tuple(
        (*row, sweep.labels.settings(settings[int(str(trial.values["trial"]))]))
        for row, trial in zip(table.rows, trials, strict=True)
    )
    return Table("", (*table.columns, "settings"), rows, table.right)


def trial_json(trial: RunValues, sweep: SweepContent, columns: Sequence[str]) -> dict[str, Any]:
    """Return one trial of `trainer ls SWEEP --json`; missing values are null."""
    if columns:
        return {name: trial.values.get(name) for name in columns}
    row = next(row for row in sweep.rows if row.trial.number == trial.values["trial"])
    properties = {name: trial.values.get(name) for name in TRIAL_PROPERTIES}
    metrics = {split: dict(values) for split, values in trial.run.metrics.items()}
    return {**properties, "settings": dict(row.trial.settings), "metrics": metrics}


def trials_csv(sweep: SweepContent, trials: Sequence[RunValues], query: Query) -> Iterator[str]:
    """Yield the lines of `trainer ls SWEEP --csv`: these columns, by default all values."""
    searched = [key for dimension in sweep.dimensions for key in dimension.keys]
    objective = [sweep.leaderboard.objective] if sweep.leaderboard.objective else []
    metrics = metric_names([trial.run for trial in trials])
    names = dict.fromkeys((*TRIAL_PROPERTIES, *objective, *metrics, *searched, *query.names))
    return csv_lines(query.columns or list(names), (trial.values for trial in trials))


def sweeps_table(sweeps: Sequence[SweepContent], now: datetime) -> Table:
    """Make a table of sweeps: status, name, path, trials, best trial, age."""
    rows = tuple(
        (
            sweep.status,
            cell(sweep.name),
            cell(str(sweep.directory.path)),
            trials_text(sweep),
            best_text(sweep),
            _MISSING if sweep.started is None else age((now - sweep.started).total_seconds()),
        )
        for sweep in sweeps
    )
    return Table("", ("status", "name", "sweep", "trials", "best", "age"), rows)


def trials_text(sweep: SweepContent) -> str:
    """Format the number of ended trials and the total: 12/64."""
    ended = sum(row.ended is not None for row in sweep.rows)
    return f"{ended:,}" if sweep.trials is None else f"{ended:,}/{sweep.trials:,}"


def best_text(sweep: SweepContent) -> str:
    """Format the objective of the best trial: `val_auc 0.8662 (trial 9)`."""
    best = sweep.leaderboard.best
    if best is None or best.ended is None:
        return _MISSING
    objective = number(best.ended.objective)
    return f"{sweep.leaderboard.objective} {objective} (trial {best.trial.number})"


def sweep_json(sweep: SweepContent) -> dict[str, Any]:
    """Return a sweep as a JSON object, without its trials."""
    best = sweep.leaderboard.best
    config = sweep.config
    return {
        "sweep": str(sweep.directory.path),
        "name": sweep.name,
        "status": sweep.status,
        "search": sweep.search or None,
        "objective": sweep.leaderboard.objective or None,
        "direction": sweep.leaderboard.direction if sweep.leaderboard.objective else None,
        "started": sweep.started.isoformat() if sweep.started else None,
        "seconds": sweep.elapsed_seconds,
        "trials": sweep.trials,
        "counts": dict(sweep.counts),
        "space": None
        if config is None or config.sweep is None
        else {
            "space": config.sweep.space,
            "pairs": config.sweep.pairs,
            "when": config.sweep.when,
        },
        "best": None if best is None else trial_row_json(sweep, best),
        "problems": [problem_json(problem) for problem in sweep.problems],
    }


def trial_row_json(sweep: SweepContent, row: TrialRow) -> dict[str, Any]:
    """Return a trial as a JSON object; `run` is the path of its run directory, or null."""
    run = sweep.run_of(row)
    return {**row.to_json(), "run": None if run is None else str(run.path)}
