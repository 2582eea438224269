"""A sweep as tables of text, for `trainer show`, and as values for `--json`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from trainer.config.domains import Choices, Dimension, Domain, Floats, Integers
from trainer.report.decisions import read_decision_summary
from trainer.report.sweeps.facts import SweepFacts
from trainer.report.sweeps.listing import sweep_json, trial_facts
from trainer.report.sweeps.text import best_table, legend_table, listed_text
from trainer.report.tables import metric_text
from trainer.report.text import Table, cell, duration, number, pluralize
from trainer.runs.listing import summarize
from trainer.runs.process import this_process

_REASONS = 10
_NUMBERS = 12
_STATUS_WORDS = {
    "running": "running",
    "finished": "finished",
    "stopped": "stopped; it can be resumed",
    "dead": "dead: the process that trained it was killed; it can be resumed",
    "damaged": "damaged",
}


def show_json(sweep: SweepFacts) -> dict[str, Any]:
    """`trainer show SWEEP --json`: the sweep with all its trials, the best first, and what is next."""
    return {
        **sweep_json(sweep),
        "trials_by_rank": [trial_facts(sweep, row) for row in sweep.ranked],
        "commands": dict(sweep.commands),
    }


def show_tables(sweep: SweepFacts, now: datetime) -> list[Table]:
    """The tables of `trainer show SWEEP`; those with nothing in them are left out."""
    leaderboard = sweep.leaderboard
    best = best_table(leaderboard, sweep.labels, "best trials")
    more = listed_text(len(best.rows), len(sweep.rows), sweep.directory.path)
    problems = tuple((cell(str(problem)),) for problem in sweep.problems)
    next_steps = tuple((command, words) for command, words in sweep.commands.items())
    tables = [
        Table("", ("", ""), tuple(_facts(sweep))),
        space_table(sweep),
        best,
        Table("", ("",), ((more,),) if more and best.rows else ()),
        legend_table(sweep.labels),
        _winner_table(sweep, now),
        failures_table(sweep),
        Table("damage", ("",), problems),
        Table("next", ("", ""), next_steps),
    ]
    return [table for table in tables if table.rows]


def status_text(sweep: SweepFacts) -> str:
    """The status, with what it means."""
    return _STATUS_WORDS[sweep.status]


def _facts(sweep: SweepFacts) -> Iterator[tuple[str, str]]:
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
                f"one in {halving.factor} continues, the first time after {halving.first}",
            )
        yield (
            "kept",
            "the runs of all trials"
            if sweep.config.sweep.keep == "all"
            else (f"the runs of the best {sweep.config.sweep.keep.partition(':')[2]} trials"),
        )
    if sweep.started is not None:
        yield "started", sweep.started.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    if any(row.ended for row in sweep.rows):
        yield "took", duration(sweep.elapsed_seconds)
    if sweep.jobs is not None:
        yield "jobs", str(sweep.jobs)
    if sweep.directory.report.is_file():
        yield "report", cell(str(sweep.directory.report))


def ended_text(sweep: SweepFacts) -> str:
    """`14 of 64 trials ended (12 finished, 2 failed)`."""
    ended = sum(row.ended is not None for row in sweep.rows)
    whole = "" if sweep.trials is None else f" of {sweep.trials:,}"
    counts = ", ".join(f"{count:,} {status}" for status, count in sweep.counts.items())
    noun = "trial" if (sweep.trials or ended) == 1 else "trials"
    return f"{ended:,}{whole} {noun} ended" + (f" ({counts})" if counts else "")


def space_table(sweep: SweepFacts) -> Table:
    """What is searched: setting, values, condition."""
    rows = []
    for dimension in sweep.dimensions:
        for place, key in enumerate(dimension.keys):
            together = f"with {dimension.keys[0]}" if place else ""
            when = sweep.conditions.get(key, "")
            rows.append((cell(key), domain_text(sweep, dimension, place), cell(when or together)))
    columns = ("setting", "searched", "condition") if any(row[2] for row in rows) else (
        "setting", "searched",
    )  # fmt: skip
    return Table("space", columns, tuple(row[: len(columns)] for row in rows))


def domain_text(sweep: SweepFacts, dimension: Dimension, place: int) -> str:
    """The values of a setting of a dimension: `log(0.0001, 0.1)`, `32, 64, 128`."""
    domain: Domain = dimension.domain
    match domain:
        case Floats(low, high, log):
            return f"{'log' if log else 'uniform'}({low:.4g}, {high:.4g})"
        case Integers(low, high, log):
            return f"int({low}, {high}{', log' if log else ''})"
        case Choices(values):
            own = [value if len(dimension.keys) == 1 else value[place] for value in values]
            return ", ".join(sweep.labels.value(dimension.keys[place], value) for value in own)


def _winner_table(sweep: SweepFacts, now: datetime) -> Table:
    """What the best trial scores on each split that it was evaluated on."""
    best = sweep.leaderboard.best
    run = None if best is None else sweep.run_of(best)
    if best is None or run is None:
        return Table("", (), ())
    summary = summarize(run, now, this_process())
    names = dict.fromkeys(name for metrics in summary.metrics.values() for name in metrics)
    labels = read_decision_summary(run).labels
    rows = tuple(
        (cell(labels.of(name)), *(metric_text(summary, split, name) for split in summary.metrics))
        for name in names
    )
    right = frozenset(range(1, len(summary.metrics) + 1))
    title = f"trial {best.trial.number} on each split"
    return Table(title, ("metric", *map(cell, summary.metrics)), rows, right)


def failures_table(sweep: SweepFacts) -> Table:
    """Why trials failed, the most frequent reason first."""
    reasons: dict[str, list[int]] = defaultdict(list)
    for row in sweep.rows:
        if row.ended is not None and row.ended.status == "failed":
            reasons[row.ended.reason].append(row.trial.number)
    rows = sorted(reasons.items(), key=lambda each: (-len(each[1]), each[1][0]))
    shown = tuple(
        (f"{len(numbers):,}", _numbers(numbers), cell(reason))
        for reason, numbers in rows[:_REASONS]
    )
    title = "trials that failed"
    if len(rows) > _REASONS:
        title += f" ({_REASONS} of {pluralize(len(rows), 'reason')})"
    return Table(title, ("failed", "trials", "reason"), shown, frozenset({0}))


def _numbers(numbers: list[int]) -> str:
    shown = ", ".join(map(number, numbers[:_NUMBERS]))
    return shown if len(numbers) <= _NUMBERS else f"{shown}, …"
