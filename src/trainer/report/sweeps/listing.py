"""Sweeps and their trials as tables, JSON and CSV, for `trainer ls`.

A trial is listed whether it has a run directory or not: one that failed, or was not kept, is known from
the sweep's journal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from trainer.report.csv_output import csv_lines
from trainer.report.listing import columns_table, problem_json
from trainer.report.query import Query, Selection, requested_names, select_from
from trainer.report.run_values import RunValues, measured, metric_names, with_requested_values
from trainer.report.settings import Value
from trainer.report.sweeps.facts import SweepFacts
from trainer.report.text import Table, age, cell, number
from trainer.runs.directory import RunDirectory
from trainer.runs.listing import RunSummary, summarize
from trainer.runs.process import this_process
from trainer.sweep.leaderboard import TrialRow

TRIAL_FACTS = (
    "trial", "status", "objective", "epochs", "best_epoch", "seconds", "run", "reason",
)  # fmt: skip
"""What every trial has by name: `run` is the path of its run directory where it has one."""
_NOTHING = "–"


def select_trials(sweep: SweepFacts, query: Query, now: datetime) -> Selection:
    """The trials that meet a query, in its order; without one the best first.

    Raises:
        UsageError: As in `trainer.report.query.select`.
    """
    here = this_process()
    known = []
    for row in sweep.ranked:
        run = sweep.run_of(row)
        path = sweep.directory.trial(row.trial.number)
        summary = RunSummary(path, sweep.name, "finished", None, {}, {}, ())
        if run is not None:
            summary = summarize(RunDirectory(path), now, here)
        known.append(RunValues(summary, trial_values(sweep, row, summary)))
    found = with_requested_values(known, list(requested_names(query)), TRIAL_FACTS, "trial")
    metrics = metric_names([one.run for one in known])
    objective = sweep.leaderboard.objective
    if objective:
        metrics |= {name: objective.removeprefix("val_") for name in ("objective", objective)}
    return select_from(found, query, metrics)


def trial_values(sweep: SweepFacts, row: TrialRow, run: RunSummary) -> dict[str, Value]:
    """What is known of a trial by name: facts, metrics, searched settings."""
    facts = row.facts()
    settings = facts.pop("settings")
    facts["run"] = str(run.path) if sweep.run_of(row) is not None else None
    objective = facts["objective"]
    if objective is not None and not math.isfinite(objective):
        facts["objective"] = objective = None
    found: dict[str, Value] = {
        name: value for name, value in facts.items() if value is not None and value != ""
    }
    if objective is not None and sweep.leaderboard.objective:
        found[sweep.leaderboard.objective] = objective
    return {**found, **measured(run), **settings}


def trials_table(sweep: SweepFacts, known: Sequence[RunValues], query: Query) -> Table:
    """One row a trial: number, status, objective, epochs, requested columns, settings."""
    if query.columns:
        return columns_table(known, query.columns)
    objective = sweep.leaderboard.objective or "objective"
    usual = ("trial", "status", objective, "best_epoch", "epochs")
    searched = {key for dimension in sweep.dimensions for key in dimension.keys}
    extra = [name for name in query.names if name not in {*usual, "objective", *searched}]
    table = columns_table(known, (*usual, *extra))
    settings = {row.trial.number: row.trial.settings for row in sweep.rows}
    rows = tuple(
        (*row, sweep.labels.settings(settings[int(str(one.values["trial"]))]))
        for row, one in zip(table.rows, known, strict=True)
    )
    return Table("", (*table.columns, "settings"), rows, table.right)


def trial_json(known: RunValues, sweep: SweepFacts, columns: Sequence[str]) -> dict[str, Any]:
    """One trial of `trainer ls SWEEP --json`; what it does not have is null."""
    if columns:
        return {name: known.values.get(name) for name in columns}
    row = next(row for row in sweep.rows if row.trial.number == known.values["trial"])
    facts = {name: known.values.get(name) for name in TRIAL_FACTS}
    metrics = {split: dict(values) for split, values in known.run.metrics.items()}
    return {**facts, "settings": dict(row.trial.settings), "metrics": metrics}


def trials_csv(sweep: SweepFacts, known: Sequence[RunValues], query: Query) -> Iterator[str]:
    """The lines of `trainer ls SWEEP --csv`: these columns, or all facts, metrics and settings."""
    searched = [key for dimension in sweep.dimensions for key in dimension.keys]
    objective = [sweep.leaderboard.objective] if sweep.leaderboard.objective else []
    metrics = metric_names([one.run for one in known])
    every = (*TRIAL_FACTS, *objective, *metrics, *searched, *query.names)
    return csv_lines(query.columns or list(dict.fromkeys(every)), (one.values for one in known))


def sweeps_table(sweeps: Sequence[SweepFacts], now: datetime) -> Table:
    """One row a sweep: status, name, path, trials, the best, age."""
    rows = tuple(
        (
            sweep.status,
            cell(sweep.name),
            cell(str(sweep.directory.path)),
            trials_text(sweep),
            best_text(sweep),
            _NOTHING if sweep.started is None else age((now - sweep.started).total_seconds()),
        )
        for sweep in sweeps
    )
    return Table("", ("status", "name", "sweep", "trials", "best", "age"), rows)


def trials_text(sweep: SweepFacts) -> str:
    """How many trials have ended, of how many: 12/64."""
    ended = sum(row.ended is not None for row in sweep.rows)
    return f"{ended:,}" if sweep.trials is None else f"{ended:,}/{sweep.trials:,}"


def best_text(sweep: SweepFacts) -> str:
    """The objective of the best trial: `val_auc 0.8662 (trial 9)`."""
    best = sweep.leaderboard.best
    if best is None or best.ended is None:
        return _NOTHING
    objective = number(best.ended.objective)
    return f"{sweep.leaderboard.objective} {objective} (trial {best.trial.number})"


def sweep_json(sweep: SweepFacts) -> dict[str, Any]:
    """A sweep as one object, without its trials."""
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
        "best": None if best is None else trial_facts(sweep, best),
        "problems": [problem_json(problem) for problem in sweep.problems],
    }


def trial_facts(sweep: SweepFacts, row: TrialRow) -> dict[str, Any]:
    """A trial as one object; its run as a path that can be used, None where it has none."""
    run = sweep.run_of(row)
    return {**row.facts(), "run": None if run is None else str(run.path)}
