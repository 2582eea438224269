"""Compare runs: the settings and details that differ, and all metrics; as values, JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trainer.config.nodes import join_key
from trainer.errors import Problem, RunError, UsageError, command_text
from trainer.report.csv_output import csv_lines
from trainer.report.listing import run_json
from trainer.report.run_values import metric_key
from trainer.report.settings import Value, read_settings
from trainer.runs.directory import RunDirectory
from trainer.runs.listing import RunSummary, summarize
from trainer.runs.manifest import Manifest
from trainer.runs.opening import open_run
from trainer.runs.process import this_process

Row = Mapping[int, Value]
"""The values of one key by the index of the run; runs without the key are missing."""


@dataclass(frozen=True)
class Comparison:
    """A comparison of two or more runs.

    Attributes:
        runs: The runs in the given order.
        settings: The settings that differ, by dotted key.
        details: Other differences: data, rows, packages, device.
    """

    runs: tuple[RunSummary, ...]
    settings: Mapping[str, Row]
    details: Mapping[str, Row]


def compare_runs(paths: Sequence[Path], now: datetime) -> Comparison:
    """Read the runs at these paths, or containing them, and find what differs.

    Raises:
        UsageError: There are fewer than two, or one is given twice.
        RunError: Paths without a run, or runs without a readable config; lists all of them.
    """
    problems: list[Problem] = []
    runs: list[RunDirectory] = []
    settings: list[Value] = []
    for path in paths:
        try:
            run = open_run(path).run
            settings.append(read_settings(run))
            runs.append(run)
        except RunError as error:
            problems.extend(error.problems)
    if problems:
        raise RunError(problems)
    _check_runs(runs)
    process = this_process()
    summaries = tuple(summarize(run, now, process) for run in runs)
    details = [{} if run.manifest is None else _manifest_values(run.manifest) for run in summaries]
    names = dict.fromkeys(name for values in details for name in values)
    return Comparison(
        runs=summaries,
        settings=dict(differences(dict(enumerate(settings)), len(runs))),
        details={name: row for name in names if _differ(row := _row(details, name), len(runs))},
    )


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return the output of `trainer compare --json`: each run as in `ls`, and what differs."""
    return {
        "differ": {"settings": list(comparison.settings), "details": list(comparison.details)},
        "runs": [
            {
                **run_json(run),
                "settings": _column(comparison.settings, index),
                "details": _column(comparison.details, index),
            }
            for index, run in enumerate(comparison.runs)
        ],
    }


def comparison_csv(comparison: Comparison) -> Iterator[str]:
    """Yield the lines of `trainer compare --csv`: a row per run with what differs and all metrics."""
    rows = [
        {
            "run": str(run.path),
            "name": run.name,
            "status": run.status,
            **_column(comparison.settings, index),
            **_metrics(run),
            **_column(comparison.details, index),
        }
        for index, run in enumerate(comparison.runs)
    ]
    columns = ["run", "name", "status", *comparison.settings]
    columns += [name for run in comparison.runs for name in _metrics(run)]
    return csv_lines(list(dict.fromkeys((*columns, *comparison.details))), rows)


def _check_runs(runs: Sequence[RunDirectory]) -> None:
    if len(runs) < 2:
        fix = f"add another run; `{command_text('show', runs[0].path)}` shows a single one"
        raise UsageError(Problem("trainer compare", "two runs or more", "one", fix))
    first: dict[Path, RunDirectory] = {}
    for run in runs:
        earlier = first.setdefault(run.path.resolve(), run)
        if earlier is not run:
            found = f"the same run as {earlier.path}"
            raise UsageError(Problem(str(run.path), "distinct runs", found, "remove one"))


def _row(columns: Sequence[Mapping[str, Value]], name: str) -> Row:
    return {index: column[name] for index, column in enumerate(columns) if name in column}


def _column(rows: Mapping[str, Row], index: int) -> dict[str, Value]:
    return {name: row[index] for name, row in rows.items() if index in row}


def _differ(row: Row, count: int) -> bool:
    # As JSON: 1, 1.0 and true are three values, and the order of keys does not matter.
    texts = {json.dumps(value, sort_keys=True) for value in row.values()}
    return len(row) < count or len(texts) > 1


def differences(row: Row, count: int, steps: tuple[str, ...] = ()) -> Iterator[tuple[str, Row]]:
    """Yield the settings that differ by key; a part that some runs lack, such as a layer, as a whole."""
    if not _differ(row, count):
        return
    parts = [_parts(value) for value in row.values()]
    if len(row) < count or any(part is None for part in parts):
        yield join_key(steps), row
        return
    columns = {index: _parts(value) or {} for index, value in row.items()}
    for key in dict.fromkeys(key for column in columns.values() for key in column):
        nested = {index: column[key] for index, column in columns.items() if key in column}
        yield from differences(nested, count, (*steps, key))


def _parts(value: Value) -> dict[str, Value] | None:
    """Return the items of a mapping, or of a list of mappings; None for a single value."""
    match value:
        case dict():
            return value
        case [dict(), *_]:
            return {str(index): item for index, item in enumerate(value)}
        case _:
            return None


def _metrics(run: RunSummary) -> dict[str, Value]:
    """Return val_auc, and for a run with members val_auc_mean, _std, _low and _high."""
    values: dict[str, Value] = {}
    for split, metrics in run.metrics.items():
        intervals = run.intervals[split] if split in run.intervals else {}
        for name in dict.fromkeys((*metrics, *intervals)):
            key = metric_key(split, name)
            values[key] = metrics[name] if name in metrics else None
            if name in intervals:
                interval = intervals[name]
                values |= {
                    f"{key}_{part}": getattr(interval, part)
                    for part in ("mean", "std", "low", "high")
                }
    return values


def _manifest_values(manifest: Manifest) -> dict[str, Value]:
    details: dict[str, Value | None] = {
        "data_sha256": [file.sha256 for file in manifest.data],
        **{f"rows.{split}": count for split, count in manifest.splits.items()},
        **{f"dropped.{reason}": count for reason, count in manifest.dropped.items()},
        "task": manifest.task,
        "parameters": manifest.parameters,
        "stopped_because": manifest.stopped_because,
        "weights_sha256": manifest.weights_sha256,
        "device": manifest.device,
        "engine": manifest.engine,
        "threads": manifest.threads,
        "processor": manifest.processor or None,
        "platform": manifest.platform,
        "version": manifest.version,
        "python": manifest.python,
        **{f"packages.{name}": version for name, version in manifest.packages.items()},
        "git": None if manifest.git is None else manifest.git.commit,
    }
    return {name: value for name, value in details.items() if value is not None}
