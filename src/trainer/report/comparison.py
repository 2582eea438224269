"""Several runs side by side: what differs in their settings and facts, and all their metrics.

Owns: what is compared, as values, JSON and CSV. Does not own: the tables (`comparison_tables`).
"""

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
"""The values of one key by the position of the run, from 0; a run that has none is left out."""


@dataclass(frozen=True)
class Comparison:
    """Two runs or more.

    Attributes:
        runs: The runs, as they were named.
        settings: The settings that differ, by dotted key.
        facts: What else differs: data, rows, packages, device.
    """

    runs: tuple[RunSummary, ...]
    settings: Mapping[str, Row]
    facts: Mapping[str, Row]


def compare_runs(paths: Sequence[Path], now: datetime) -> Comparison:
    """Reads the runs that the paths name or lie in, and finds what differs.

    Raises:
        UsageError: They are fewer than two, or one is named twice.
        RunError: A path leads to no run, or a run has no config that can be read; with all that do.
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
    _check_several(runs)
    here = this_process()
    summaries = tuple(summarize(run, now, here) for run in runs)
    facts = [{} if run.manifest is None else _facts(run.manifest) for run in summaries]
    everywhere = dict.fromkeys(name for one in facts for name in one)
    return Comparison(
        runs=summaries,
        settings=dict(differences(dict(enumerate(settings)), len(runs))),
        facts={name: row for name in everywhere if _differ(row := _row(facts, name), len(runs))},
    )


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """`trainer compare --json`: of each run what `ls` says, and its part of what differs."""
    return {
        "differ": {"settings": list(comparison.settings), "facts": list(comparison.facts)},
        "runs": [
            {
                **run_json(run),
                "settings": _column(comparison.settings, place),
                "facts": _column(comparison.facts, place),
            }
            for place, run in enumerate(comparison.runs)
        ],
    }


def comparison_csv(comparison: Comparison) -> Iterator[str]:
    """`trainer compare --csv`: a line for each run, with what differs and all metrics."""
    rows = [
        {
            "run": str(run.path),
            "name": run.name,
            "status": run.status,
            **_column(comparison.settings, place),
            **_metrics(run),
            **_column(comparison.facts, place),
        }
        for place, run in enumerate(comparison.runs)
    ]
    columns = ["run", "name", "status", *comparison.settings]
    columns += [name for run in comparison.runs for name in _metrics(run)]
    return csv_lines(list(dict.fromkeys((*columns, *comparison.facts))), rows)


def _check_several(runs: Sequence[RunDirectory]) -> None:
    if len(runs) < 2:
        fix = f"name another to compare it with; `{command_text('show', runs[0].path)}` shows one"
        raise UsageError(Problem("trainer compare", "two runs or more", "one", fix))
    first: dict[Path, RunDirectory] = {}
    for run in runs:
        earlier = first.setdefault(run.path.resolve(), run)
        if earlier is not run:
            found = f"the run {earlier.path} again"
            raise UsageError(Problem(str(run.path), "each run once", found, "leave one out"))


def _row(columns: Sequence[Mapping[str, Value]], name: str) -> Row:
    return {place: column[name] for place, column in enumerate(columns) if name in column}


def _column(rows: Mapping[str, Row], place: int) -> dict[str, Value]:
    return {name: row[place] for name, row in rows.items() if place in row}


def _differ(row: Row, count: int) -> bool:
    # As text: 1, 1.0 and true are three values, and the order of keys is no difference.
    texts = {json.dumps(value, sort_keys=True) for value in row.values()}
    return len(row) < count or len(texts) > 1


def differences(row: Row, count: int, steps: tuple[str, ...] = ()) -> Iterator[tuple[str, Row]]:
    """What differs in settings, each by its key; what only some have, such as a layer, as a whole."""
    if not _differ(row, count):
        return
    parts = [_parts(value) for value in row.values()]
    if len(row) < count or any(part is None for part in parts):
        yield join_key(steps), row
        return
    columns = {place: _parts(value) or {} for place, value in row.items()}
    for key in dict.fromkeys(key for column in columns.values() for key in column):
        below = {place: column[key] for place, column in columns.items() if key in column}
        yield from differences(below, count, (*steps, key))


def _parts(value: Value) -> dict[str, Value] | None:
    """What is in a mapping, or in a list of mappings; None for what is shown as one value."""
    match value:
        case dict():
            return value
        case [dict(), *_]:
            return {str(index): item for index, item in enumerate(value)}
        case _:
            return None


def _metrics(run: RunSummary) -> dict[str, Value]:
    """val_auc, and val_auc_mean, _sd, _low and _high of a run with members."""
    found: dict[str, Value] = {}
    for split, metrics in run.metrics.items():
        intervals = run.intervals[split] if split in run.intervals else {}
        for name in dict.fromkeys((*metrics, *intervals)):
            key = metric_key(split, name)
            found[key] = metrics[name] if name in metrics else None
            if name in intervals:
                ends = intervals[name]
                found |= {
                    f"{key}_{end}": getattr(ends, end) for end in ("mean", "sd", "low", "high")
                }
    return found


def _facts(manifest: Manifest) -> dict[str, Value]:
    facts: dict[str, Value | None] = {
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
    return {name: value for name, value in facts.items() if value is not None}
