"""One run as text tables for `trainer show`, and as values for `--json`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trainer.errors import Problem, RunError, command_text
from trainer.report.decisions import (
    DecisionSummary,
    MetricLabels,
    decisions_json,
    read_decision_summary,
)
from trainer.report.listing import problem_json, run_json
from trainer.report.text import (
    Table,
    cell,
    duration,
    format_bytes,
    format_with_interval,
    number,
    sparkline,
)
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.files import to_jsonable
from trainer.runs.listing import RunSummary, summarize
from trainer.runs.log import read_log
from trainer.runs.manifest import Manifest, manifest_to_json
from trainer.runs.process import ProcessIdentity, this_process
from trainer.runs.search import is_run
from trainer.runs.sweeps import SweepDirectory, is_sweep

_HEAD, _TAIL = 3, 5


@dataclass(frozen=True)
class RunReport:
    """A run as shown by `trainer show`.

    Attributes:
        summary: Status, manifest, metrics of the evaluated splits.
        history: One record per epoch.
        problems: Problems found in damaged files.
    """

    summary: RunSummary
    history: Sequence[Mapping[str, Any]]
    problems: tuple[Problem, ...]


def load_report(
    run: RunDirectory, now: datetime, process: ProcessIdentity | None = None
) -> RunReport:
    """Read a run; damaged files are reported as problems, not raised."""
    summary = summarize(run, now, this_process() if process is None else process)
    problems = list(summary.problems)
    history: list[dict[str, Any]] = []
    try:
        history = read_log(run.metrics)
    except RunError as error:
        problems.extend(error.problems)
    try:
        read_decisions(run)
    except RunError as error:
        problems.extend(error.problems)
    return RunReport(summary, history, tuple(problems))


def report_json(report: RunReport) -> dict[str, Any]:
    """Return the output of `trainer show --json`: that of `ls`, the manifest and the history."""
    manifest = report.summary.manifest
    return {
        **run_json(report.summary),
        "problems": [problem_json(problem) for problem in report.problems],
        "manifest": None if manifest is None else to_jsonable(manifest_to_json(manifest)),
        "decisions": decisions_json(RunDirectory(report.summary.path)),
        "history": [dict(record) for record in report.history],
    }


def report_tables(report: RunReport, findings: Sequence[Table] = ()) -> list[Table]:
    """Make the tables of `trainer show`, without empty ones.

    Args:
        report: The run.
        findings: Tables of its findings, to be placed after the evaluation.
    """
    manifest = report.summary.manifest
    choices = read_decision_summary(RunDirectory(report.summary.path))
    tables = [_summary_table(report, choices)]
    if manifest is not None:
        tables += [_rows_table(manifest), _files_table(manifest)]
    tables += [
        _evaluation_table(report, choices.labels),
        *findings,
        _curves_table(report.history),
        _history_table(report.history, manifest.best_epoch if manifest else None),
    ]
    if manifest is not None:
        tables += [
            _lines_table("warnings", manifest.warnings),
            _lines_table("errors", [str(problem) for problem in manifest.problems]),
        ]
    tables.append(_lines_table("damaged files", [str(problem) for problem in report.problems]))
    return [table for table in tables if table.rows]


def metric_text(run: RunSummary, split: str, name: str) -> str:
    """Format a metric of a split; for a run with members the mean and its interval: 0.8 [0.7, 0.9]."""
    interval = run.intervals.get(split, {}).get(name)
    if interval is None:
        return number(run.metrics.get(split, {}).get(name))
    return format_with_interval(interval.mean, interval.low, interval.high)


def _summary_table(report: RunReport, choices: DecisionSummary) -> Table:
    run, manifest = report.summary, report.summary.manifest
    pairs = [("run", str(run.path)), ("name", run.name), ("status", run.status)]
    pairs += next_step(RunDirectory(run.path), run.status)
    if manifest is not None:
        pairs += _manifest_rows(manifest)
    pairs += [("decision", line) for line in choices.decisions]
    pairs += [("class weights", choices.class_weights)]
    pairs += _file_rows(RunDirectory(run.path))
    rows = tuple((name, cell(value)) for name, value in pairs if value)
    return Table(title="", columns=("", ""), rows=rows)


def next_step(run: RunDirectory, status: str) -> Iterator[tuple[str, str]]:
    """Yield the command that resumes or restarts an unfinished run."""
    if status in {"dead", "stopped", "failed"}:
        parent = _parent(run)
        if run.has_checkpoint("last") or run.members.is_dir():
            yield "resume with", command_text("resume", run.path)
        elif parent is not None and status != "failed":
            yield "resume with", command_text("resume", parent)
        elif run.config.is_file():
            yield "no checkpoint", f"train again with {command_text('fit', run.config)}"


def _parent(run: RunDirectory) -> Path | None:
    """Return the run or the sweep that a member or a trial belongs to, else None."""
    folder = run.path.absolute().parent
    path = folder.parent
    is_member = folder == RunDirectory(path).members and is_run(path)
    is_trial = folder == SweepDirectory(path).trials and is_sweep(path)
    if not (is_member or is_trial):
        return None
    return run.path.parent.parent if len(run.path.parts) > 2 else path


def _manifest_rows(manifest: Manifest) -> Iterator[tuple[str, str]]:
    best = "" if manifest.best_epoch is None else f", best {manifest.best_epoch}"
    yield "epochs", f"{manifest.epochs:,}{best}"
    yield "stopped because", manifest.stopped_because or ""
    yield "started", _local_time(manifest.started)
    if manifest.ended is not None:
        yield "took", duration((manifest.ended - manifest.started).total_seconds())
    yield "phases", ", ".join(f"{name} {duration(s)}" for name, s in manifest.timings.items())
    yield "task", manifest.task or ""
    yield "parameters", "" if manifest.parameters is None else f"{manifest.parameters:,}"
    yield "device", manifest.device or ""
    yield "engine", manifest.engine or ""
    yield "threads", "" if manifest.threads is None else str(manifest.threads)
    yield "seed", str(manifest.seed)
    yield "weights sha256", manifest.weights_sha256 or ""
    yield "command", shlex.join(manifest.command)
    yield "process", f"{manifest.process.pid} on {manifest.process.host}"
    if manifest.git is not None:
        changes = {True: ", modified", False: "", None: ", modifications unknown"}
        yield "git", manifest.git.commit[:12] + changes[manifest.git.dirty]
    yield "python", f"{manifest.python} on {manifest.platform}"
    yield "packages", ", ".join(f"{name} {version}" for name, version in manifest.packages.items())


def _file_rows(run: RunDirectory) -> Iterator[tuple[str, str]]:
    yield "report", str(run.report) if run.report.is_file() else ""
    files = sorted(run.predictions.glob("*.parquet")) if run.predictions.is_dir() else []
    names = ", ".join(path.stem for path in files)
    yield "predictions", f"{run.predictions} ({names})" if names else ""
    if run.tensorboard.is_dir():
        yield "tensorboard", str(run.tensorboard)
    with suppress(RunError):
        match run.read_tracking():
            case {"mlflow": {"uri": str(uri), "run_id": str(number)}}:
                yield "mlflow", f"run {number} of {re.sub(r'//[^/@]*@', '//…@', uri)}"


def _rows_table(manifest: Manifest) -> Table:
    rows = [(cell(split), f"{count:,}") for split, count in manifest.splits.items()]
    rows += [
        (f"dropped: {cell(reason)}", f"{count:,}") for reason, count in manifest.dropped.items()
    ]
    return Table("rows", ("split", "rows"), tuple(rows), right=frozenset({1}))


def _files_table(manifest: Manifest) -> Table:
    rows = tuple(
        (cell(file.path), f"{file.rows:,}", format_bytes(file.bytes), cell(file.sha256[:12]))
        for file in manifest.data
    )
    return Table("data", ("file", "rows", "size", "sha256"), rows, right=frozenset({1, 2}))


def _evaluation_table(report: RunReport, labels: MetricLabels) -> Table:
    metrics = report.summary.metrics
    names = dict.fromkeys(name for split_metrics in metrics.values() for name in split_metrics)
    rows = [
        (
            cell(labels.display_name(name)),
            *(metric_text(report.summary, split, name) for split in metrics),
        )
        for name in names
    ]
    counts = report.summary.rows
    if counts:
        texts = (f"{counts[split]:,}" if split in counts else "–" for split in metrics)
        rows.insert(0, ("rows", *texts))
    return Table(
        title="evaluation",
        columns=("metric", *map(cell, metrics)),
        rows=tuple(rows),
        right=frozenset(range(1, len(metrics) + 1)),
    )


def _curves_table(history: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for name in ("loss", "val_loss"):
        values = [_value(record, name) for record in history]
        defined = [value for value in values if value is not None]
        if len(defined) > 1:
            change = f"{number(defined[0])} → {number(defined[-1])}"
            rows.append((name, sparkline(values), change))
    return Table("learning curve", ("", "", ""), tuple(rows))


def _history_table(history: Sequence[Mapping[str, Any]], best: int | None) -> Table:
    names = list(dict.fromkeys(name for record in history for name in record))
    columns = ["epoch", *(name for name in names if name != "epoch")]
    shown = list(history)
    if len(shown) > _HEAD + _TAIL + 1:
        head, tail = shown[:_HEAD], shown[-_TAIL:]
        epochs = [record["epoch"] for record in (*head, *tail) if "epoch" in record]
        between = [
            record
            for record in history
            if best is not None
            and best not in epochs
            and "epoch" in record
            and record["epoch"] == best
        ]
        shown = [*head, {}, *between, *([{}] if between else []), *tail]
    rows = tuple(tuple(_history_cell(record, name, best) for name in columns) for record in shown)
    right = frozenset(range(len(columns)))
    return Table("history", tuple(map(cell, columns)), rows, right=right)


def _history_cell(record: Mapping[str, Any], name: str, best: int | None) -> str:
    if not record:
        return "…"
    if name not in record:
        return "–"
    match record[name]:
        case int() as epoch if name == "epoch":
            return f"best {epoch:,}" if epoch == best else f"{epoch:,}"
        case bool() | str() as other:
            return cell(str(other))
        case int() | float() as value:
            return number(value)
        case _:
            return "–"


def _value(record: Mapping[str, Any], name: str) -> float | None:
    if name not in record:
        return None
    value = record[name]
    return float(value) if isinstance(value, int | float) else None


def _lines_table(title: str, lines: Sequence[str]) -> Table:
    return Table(title, ("",), tuple((cell(line),) for line in lines))


def _local_time(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
