"""Runs as a table of text, for `trainer ls`, as JSON and as CSV.

Owns: which columns there are, in which order and words. Does not own: which runs (`query`), the look of
a value (`text`, `spreadsheet`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from trainer.config.yaml_writer import flow_text
from trainer.errors import Problem
from trainer.report.csv_output import csv_lines
from trainer.report.run_values import FACTS, RunValues, metric_names
from trainer.report.settings import Value
from trainer.report.text import Table, age, cell, duration, number, short_name
from trainer.runs.evaluations import Metrics
from trainer.runs.listing import RunSummary

_LISTED_METRICS = 3
_USUAL = ("status", "name", "run", "epochs", "age")
_LONGEST = 40
_NOTHING = "–"


def runs_table(known: Sequence[RunValues], asked: Sequence[str] = ()) -> Table:
    """One row a run: status, name, run, epochs, what was asked for besides, main metrics, age."""
    extra = [name for name in asked if name not in _USUAL]
    values = columns_table(known, (*_USUAL[:-1], *extra, "age"))
    place = len(values.columns) - 1
    return Table(
        title="",
        columns=(*values.columns[:place], "metrics", "age"),
        rows=tuple(
            (*row[:place], _main_metrics(one.run.metrics), row[place])
            for row, one in zip(values.rows, known, strict=True)
        ),
        right=frozenset({place + 1 if column == place else column for column in values.right}),
    )


def columns_table(known: Sequence[RunValues], columns: Sequence[str]) -> Table:
    """One row a run with these columns."""
    metrics = metric_names([one.run for one in known])
    rows = tuple(
        tuple(
            _text(name, one.values[name], metric=name in metrics)
            if name in one.values
            else _NOTHING
            for name in columns
        )
        for one in known
    )
    right = {
        place
        for place, name in enumerate(columns)
        if any(_is_number(one.values[name]) for one in known if name in one.values)
    }
    return Table("", tuple(map(cell, columns)), rows, frozenset(right))


def run_json(run: RunSummary) -> dict[str, Any]:
    """One run of `trainer ls --json`: plain JSON values, times in ISO 8601."""
    manifest = run.manifest
    return {
        "run": str(run.path),
        "name": run.name,
        "status": run.status,
        "started": run.started.isoformat() if run.started else None,
        "ended": manifest.ended.isoformat() if manifest and manifest.ended else None,
        "epochs": manifest.epochs if manifest else None,
        "best_epoch": manifest.best_epoch if manifest else None,
        "weights_sha256": manifest.weights_sha256 if manifest else None,
        "metrics": {split: dict(metrics) for split, metrics in run.metrics.items()},
        "intervals": {
            split: {name: asdict(interval) for name, interval in intervals.items()}
            for split, intervals in run.intervals.items()
            if intervals
        },
        "problems": [problem_json(problem) for problem in run.problems],
    }


def values_json(known: RunValues, columns: Sequence[str]) -> dict[str, Value]:
    """One run of `trainer ls --columns … --json`; what it does not have is null."""
    return {name: known.values.get(name) for name in columns}


def runs_csv(
    known: Sequence[RunValues], columns: Sequence[str], asked: Sequence[str]
) -> Iterator[str]:
    """The lines of `trainer ls --csv`: these columns, or else all facts that stay as they are, all
    metrics and what was asked for besides.
    """
    metrics = metric_names([one.run for one in known])
    facts = [name for name in FACTS if name != "age"]
    chosen = columns or list(dict.fromkeys((*facts, *metrics, *asked)))
    return csv_lines(chosen, (one.values for one in known))


def problem_json(problem: Problem) -> dict[str, str]:
    """A problem as `--json` prints it."""
    return {
        "where": problem.where,
        "expected": problem.expected,
        "found": problem.found,
        "fix": problem.fix,
    }


def _main_metrics(metrics: Metrics) -> str:
    for split in ("test", "validation"):
        if metrics.get(split):
            shown = list(metrics[split].items())[:_LISTED_METRICS]
            words = "  ".join(f"{cell(name)} {number(value)}" for name, value in shown)
            return words if split == "test" else f"{words}  ({split})"
    return "–"


def _text(name: str, value: Value, *, metric: bool) -> str:
    match value:
        case int() | float() if name == "age":
            return age(value)
        case int() | float() if name == "seconds":
            return duration(value)
        case int() if name in FACTS:
            return f"{value:,}"
        case float() if metric:
            return number(value)
        case float():
            return f"{value:.4g}"
        case str():
            # A path or a name is to be copied from here.
            return cell(value)
        case _:
            return short_name(flow_text(value), _LONGEST)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
