"""A sweep as text tables for `trainer show`, and as values for `--json`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from trainer.config.domains import Choices, Dimension, Domain, Floats, Integers
from trainer.errors import pluralize
from trainer.report.decisions import read_decision_summary
from trainer.report.sweeps.content import SweepContent
from trainer.report.sweeps.listing import sweep_json, trial_row_json
from trainer.report.sweeps.text import best_table, legend_table, listed_text
from trainer.report.tables import metric_text
from trainer.report.text import Table, cell, duration, number
from trainer.runs.listing import summarize
from trainer.runs.process import this_process

_MAX_REASONS = 10
_MAX_NUMBERS = 12
_STATUS_TEXTS = {
    "running": "running",
    "finished": "finished",
    "stopped": "stopped; it can be resumed",
    "dead": "dead: its process was killed; it can be resumed",
    "damaged": "damaged",
}


def show_json(sweep: SweepContent) -> dict[str, Any]:
    """Return the output of `trainer show SWEEP --json`: the sweep, its ranked trials, next commands."""
    return {
        **sweep_json(sweep),
        "trials_by_rank": [trial_row_json(sweep, row) for row in sweep.ranked],
        "commands": dict(sweep.commands),
    }


def show_tables(sweep: SweepContent, now: datetime) -> list[Table]:
    """Make the tables of `trainer show SWEEP`, without empty ones."""
    leaderboard = sweep.leaderboard
    best = best_table(leaderboard, sweep.labels, "best trials")
    more = listed_text(len(best.rows), len(sweep.rows), sweep.directory.path)
    problems = tuple((cell(str(problem)),) for problem in sweep.problems)
    next_steps = tuple(sweep.commands.items())
    tables = [
        Table("", ("", ""), tuple(_summary_rows(sweep))),
        space_table(sweep),
        best,
        Table("", ("",), ((more,),) if more and best.rows else ()),
        legend_table(sweep.labels),
        _best_trial_table(sweep, now),
        failures_table(sweep),
        Table("damaged files", ("",), problems),
        Table("next", ("", ""), next_steps),
    ]
    return [table for table in tables if table.rows]


def status_text(sweep: SweepContent) -> str:
    """Return the status with an explanation."""
    return _STATUS_TEXTS[sweep.status]


def _summary_rows(sweep: SweepContent) -> Iterator[tuple[str, str]]:
    leaderboard = sweep.leaderboard
    yield "sweep", cell(str(sweep.directory.path))
    yield "name", cell(sweep.name)
    yield "status", status_text(sweep)
    yield "trials", ended_text(sweep)
    if leaderboard.objective:
        yield "objective", f"{leaderboard.objective}, {leaderboard.direction} is better"
    if sweep.search:
        yield "search", sweep.search
    if sweep.config is not None and sweep.config.sweep is not None:
        halving = sweep.config.sweep.halving
        if halving is not None:
            yield (
                "halving",
                f"1 in {halving.factor} trials continues, starting after {halving.first}",
            )
        yield (
            "kept",
            "runs of all trials"
            if sweep.config.sweep.keep == "all"
            else (f"runs of the best {sweep.config.sweep.keep.partition(':')[2]} trials"),
        )
    if sweep.started is not None:
        yield "started", sweep.started.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    if any(row.ended for row in sweep.rows):
        yield "took", duration(sweep.elapsed_seconds)
    if sweep.jobs is not None:
        yield "jobs", str(sweep.jobs)
    if sweep.directory.report.is_file():
        yield "report", cell(str(sweep.directory.report))


def ended_text(sweep: SweepContent) -> str:
    """Format the progress: `6 of 20 trials ended (5 finished, 1 failed); 2 are unfinished`."""
    ended = sum(row.ended is not None for row in sweep.rows)
    total = "" if sweep.trials is None else f" of {sweep.trials:,}"
    counts = dict(sweep.counts)
    unfinished = counts.pop("unfinished", 0)
    noun = "trial" if (sweep.trials or ended) == 1 else "trials"
    text = f"{ended:,}{total} {noun} ended"
    if counts:
        text += f" ({', '.join(f'{count:,} {status}' for status, count in counts.items())})"
    if unfinished:
        text += f"; {unfinished:,} {'is' if unfinished == 1 else 'are'} unfinished"
    return text


def space_table(sweep: SweepContent) -> Table:
    """Make a table of the search space: setting, values, condition."""
    rows = []
    for dimension in sweep.dimensions:
        for index, key in enumerate(dimension.keys):
            pair = f"with {dimension.keys[0]}" if index else ""
            condition = sweep.conditions.get(key, "")
            rows.append((cell(key), domain_text(sweep, dimension, index), cell(condition or pair)))
    columns = ("setting", "values", "condition") if any(row[2] for row in rows) else (
        "setting", "values",
    )  # fmt: skip
    return Table("search space", columns, tuple(row[: len(columns)] for row in rows))


def domain_text(sweep: SweepContent, dimension: Dimension, index: int) -> str:
    """Format the values of a setting of a dimension: `log(0.0001, 0.1)`, `32, 64, 128`."""
    domain: Domain = dimension.domain
    match domain:
        case Floats(low, high, log):
            return f"{'log' if log else 'uniform'}({low:.4g}, {high:.4g})"
        case Integers(low, high, log):
            return f"int({low}, {high}{', log' if log else ''})"
        case Choices(values):
            if len(dimension.keys) > 1:
                values = tuple(value[index] for value in values)
            return ", ".join(sweep.labels.value(dimension.keys[index], value) for value in values)


def _best_trial_table(sweep: SweepContent, now: datetime) -> Table:
    """Make a table of the metrics of the best trial on each evaluated split."""
    best = sweep.leaderboard.best
    run = None if best is None else sweep.run_of(best)
    if best is None or run is None:
        return Table("", (), ())
    summary = summarize(run, now, this_process())
    names = dict.fromkeys(name for metrics in summary.metrics.values() for name in metrics)
    labels = read_decision_summary(run).labels
    rows = tuple(
        (
            cell(labels.display_name(name)),
            *(metric_text(summary, split, name) for split in summary.metrics),
        )
        for name in names
    )
    right = frozenset(range(1, len(summary.metrics) + 1))
    title = f"metrics of trial {best.trial.number}"
    return Table(title, ("metric", *map(cell, summary.metrics)), rows, right)


def failures_table(sweep: SweepContent) -> Table:
    """Make a table of the reasons of failures, the most frequent first."""
    reasons: dict[str, list[int]] = defaultdict(list)
    for row in sweep.rows:
        if row.ended is not None and row.ended.status == "failed":
            reasons[row.ended.reason].append(row.trial.number)
    ordered = sorted(reasons.items(), key=lambda entry: (-len(entry[1]), entry[1][0]))
    rows = tuple(
        (f"{len(numbers):,}", _numbers_text(numbers), cell(reason))
        for reason, numbers in ordered[:_MAX_REASONS]
    )
    title = "failed trials"
    if len(ordered) > _MAX_REASONS:
        title += f" ({_MAX_REASONS} of {pluralize(len(ordered), 'reason')})"
    return Table(title, ("failed", "trials", "reason"), rows, frozenset({0}))


def _numbers_text(numbers: list[int]) -> str:
    shown = ", ".join(map(number, numbers[:_MAX_NUMBERS]))
    return shown if len(numbers) <= _MAX_NUMBERS else f"{shown}, …"
