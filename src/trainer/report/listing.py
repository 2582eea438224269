"""Runs as a text table for `trainer ls`, as JSON and as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from trainer.config.yaml_writer import flow_text
from trainer.errors import Problem
from trainer.report.csv_output import csv_lines
from trainer.report.run_values import RUN_PROPERTIES, RunValues, metric_names
from trainer.report.settings import Value, is_number
from trainer.report.text import Table, age, cell, duration, number, short_name
from trainer.runs.evaluations import Metrics
from trainer.runs.listing import RunSummary

_MAIN_METRICS = 3
_DEFAULT_COLUMNS = ("status", "name", "run", "epochs", "age")
_MAX_LENGTH = 40
_MISSING = "–"


def runs_table(runs: Sequence[RunValues], requested: Sequence[str] = ()) -> Table:
    """Make a table of runs: status, name, run, epochs, other requested columns, main metrics, age."""
    extra = [name for name in requested if name not in _DEFAULT_COLUMNS]
    values = columns_table(runs, (*_DEFAULT_COLUMNS[:-1], *extra, "age"))
    last = len(values.columns) - 1
    return Table(
        title="",
        columns=(*values.columns[:last], "metrics", "age"),
        rows=tuple(
            (*row[:last], _main_metrics(run.run.metrics), row[last])
            for row, run in zip(values.rows, runs, strict=True)
        ),
        right=frozenset({last + 1 if column == last else column for column in values.right}),
    )


def columns_table(runs: Sequence[RunValues], columns: Sequence[str]) -> Table:
    """Make a table of runs with these columns."""
    metrics = metric_names([run.run for run in runs])
    rows = tuple(
        tuple(
            _text(name, run.values[name], metric=name in metrics)
            if name in run.values
            else _MISSING
            for name in columns
        )
        for run in runs
    )
    right = {
        index
        for index, name in enumerate(columns)
        if any(is_number(run.values[name]) for run in runs if name in run.values)
    }
    return Table("", tuple(map(cell, columns)), rows, frozenset(right))


def run_json(run: RunSummary) -> dict[str, Any]:
    """Return one run of `trainer ls --json`: plain JSON values, times in ISO 8601."""
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


def values_json(run: RunValues, columns: Sequence[str]) -> dict[str, Value]:
    """Return one run of `trainer ls --columns … --json`; missing values are null."""
    return {name: run.values.get(name) for name in columns}


def runs_csv(
    runs: Sequence[RunValues], columns: Sequence[str], requested: Sequence[str]
) -> Iterator[str]:
    """Yield the lines of `trainer ls --csv`: these columns, by default all properties except the age,
    all metrics and other requested names.
    """
    metrics = metric_names([run.run for run in runs])
    properties = [name for name in RUN_PROPERTIES if name != "age"]
    selected = columns or list(dict.fromkeys((*properties, *metrics, *requested)))
    return csv_lines(selected, (run.values for run in runs))


def problem_json(problem: Problem) -> dict[str, str]:
    """Return a problem as in `--json` output."""
    return {
        "where": problem.where,
        "expected": problem.expected,
        "found": problem.found,
        "fix": problem.fix,
    }


def _main_metrics(metrics: Metrics) -> str:
    for split in ("test", "validation"):
        if metrics.get(split):
            shown = list(metrics[split].items())[:_MAIN_METRICS]
            text = "  ".join(f"{cell(name)} {number(value)}" for name, value in shown)
            return text if split == "test" else f"{text}  ({split})"
    return _MISSING


def _text(name: str, value: Value, *, metric: bool) -> str:
    match value:
        case int() | float() if name == "age":
            return age(value)
        case int() | float() if name == "seconds":
            return duration(value)
        case int() if name in RUN_PROPERTIES:
            return f"{value:,}"
        case float() if metric:
            return number(value)
        case float():
            return f"{value:.4g}"
        case str():
            # Not truncated: paths and names are copied from here.
            return cell(value)
        case _:
            return short_name(flow_text(value), _MAX_LENGTH)
