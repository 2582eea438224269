"""Output of `fit` and `resume` for one network, and what it shares with other commands that train."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.errors import command_text, pluralize
from trainer.report.text import Table, duration, inputs_text, number
from trainer_cli import console
from trainer_cli.following import Signals, View
from trainer_cli.generation_output import generation_summary
from trainer_cli.options import SPLITS

if TYPE_CHECKING:
    from trainer.report.decisions import DecisionSummary
    from trainer.workflows.events import MembersFinished, RunEvent, RunFinished
    from trainer.workflows.plans import AnyPlan
    from trainer_cli.progress import Progress

Timings = Annotated[bool, typer.Option("--timings", help="Print the seconds of each phase.")]
_MANY_ROWS = 50_000
"""Number of rows from which the evaluation takes so long that it is announced."""


class RunView(View["RunFinished"]):
    """Shows the training of one network."""

    def __init__(
        self, stderr: console.Console, *, json: bool = False, timings: bool = False
    ) -> None:
        self._stderr, self._json, self._timings = stderr, json, timings
        self._progress: Progress | None = None
        self._rows = 0

    def show(self, event: RunEvent, signals: Signals) -> RunFinished | None:
        from trainer.workflows.events import RunFinished, RunStarted
        from trainer_cli.progress import Progress

        match event:
            case RunStarted():
                _print_start(event, self._stderr)
                self._progress = Progress(self._stderr, event.plan)
                self._rows = sum(event.plan.dataset.rows(name) for name in SPLITS)
                signals.training = True
            case RunFinished():
                self.close()
                _print_end(event, self._stderr)
                return event
            case _:
                assert self._progress is not None
                self._progress.show(event)
                ends = getattr(event, "stop", None) is not None
                if ends and signals.reason() is None and self._rows >= _MANY_ROWS:
                    self.close()
                    self._stderr.print(f"evaluating {self._rows:,} rows …")
        return None

    def close(self) -> None:
        if self._progress is not None:
            self._progress.close()

    def print_result(self, finished: RunFinished) -> None:
        """Print the result on stdout, after the timings on stderr if requested."""
        if self._timings:
            self._stderr.print(_timings_text(finished.timings))
        if self._json:
            console.json_result(_result_json(finished))
        else:
            console.result(str(finished.run))


def _print_start(event: Any, stderr: console.Console) -> None:
    from trainer.config.task_rules import TASK_RULES

    plan = event.plan
    if TASK_RULES[plan.task_name].is_generated:
        for line in generation_summary(plan):
            stderr.print(line)
    else:
        stderr.print(data_summary(plan))
        parameters = "" if plan.parameters is None else f", {plan.parameters:,} parameters"
        stderr.print(
            f"network: {inputs_text(plan.dataset.preprocessing.inputs)}, "
            f"{' → '.join(layer.name for layer in plan.layers)}{parameters}"
        )
    threads = pluralize(event.device.threads, "thread")
    stderr.print(f"device: {event.device.name}, {threads} ({event.device.reason})")
    stderr.print(f"engine: {plan.engine.engine} ({plan.engine.reason})")
    print_remarks(plan, stderr)
    for note in event.notes:
        stderr.print(note)


def _print_end(event: RunFinished, stderr: console.Console) -> None:
    stderr.print(
        f"ended after {pluralize(event.epochs, 'epoch')}: {event.stopped_because}; "
        f"best epoch {event.best_epoch:,}; {duration(event.seconds)}"
    )
    if event.metrics:
        stderr.print()
        print_metrics(event.run, metric_texts(event.metrics), stderr)
        stderr.print()
    print_summary(event.run, event.sentence, stderr)
    _print_sizes(event.run, stderr)
    if event.weights_sha256 is not None:
        stderr.print(f"weights sha256: {event.weights_sha256}")
    print_resume_command(event, stderr)


def _print_sizes(run: Path, stderr: console.Console) -> None:
    """Print the sizes of a compressed run, before and after, and what could not be measured."""
    from trainer.runs.compression import read_compression
    from trainer.runs.directory import RunDirectory

    record = read_compression(RunDirectory(run))
    if record is None:
        return
    from trainer.report.page.compression import SIZE_HEADERS, size_rows

    for note in record.notes:
        console.warn(note)
    rows = tuple(size_rows(record))
    stderr.table(Table("", SIZE_HEADERS, rows, frozenset(range(1, len(SIZE_HEADERS)))))
    stderr.print()


def print_resume_command(event: RunFinished | MembersFinished, stderr: console.Console) -> None:
    """Print how to resume a run that was stopped or ran out of time."""
    from trainer.runs.manifest import TIME_LIMIT

    if event.status == "stopped" or event.stopped_because.startswith(TIME_LIMIT):
        stderr.print(f"resume with: {command_text('resume', event.run)}")


def print_summary(run: Path, sentence: str, stderr: console.Console) -> None:
    """Print the summary of the report of a run, if it has one, with warnings about it."""
    if not sentence:
        return
    from trainer.report.generation import sample_warnings
    from trainer.runs.directory import RunDirectory
    from trainer.runs.findings import read_findings

    stderr.print(sentence)
    findings = read_findings(RunDirectory(run))
    warnings = sample_warnings(RunDirectory(run)) if findings is None else findings.warnings
    for warning in warnings:
        console.warn(warning)
    stderr.print(f"report: {run}/report.html")
    stderr.print()


def data_summary(plan: Any) -> str:
    """Return the task, the targets and the rows of each split as text."""
    from trainer.config.task_rules import TASK_RULES

    if TASK_RULES[plan.task_name].is_generated:
        return generation_summary(plan)[0]
    target, dataset = plan.task.target, plan.dataset
    rows = ", ".join(f"{dataset.rows(name):,} {name}" for name in SPLITS if dataset.rows(name))
    return f"{plan.config.name}: {target.task} ({', '.join(target.columns)}); rows: {rows}"


def print_remarks(plan: AnyPlan, stderr: console.Console, *warnings: str) -> None:
    """Print the warnings of a plan, other warnings, and the notes of the plan."""
    for warning in (*plan.warnings, *warnings):
        console.warn(warning)
    for note in plan.notes:
        stderr.print(f"note: {note}")


def metric_texts(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, str]]:
    """Return split → metric → value as text."""
    return {
        split: {name: number(value) for name, value in values.items()}
        for split, values in metrics.items()
    }


def print_metrics(
    run: Path, texts: Mapping[str, Mapping[str, str]], stderr: console.Console, note: str = ""
) -> None:
    """Print the metrics of a run as a table, a note about it, and the decisions of the run.

    Args:
        run: The run directory.
        texts: Split → metric → value as text.
        stderr: The console.
        note: Printed below the table.
    """
    from trainer.report.decisions import read_decision_summary
    from trainer.runs.directory import RunDirectory

    choices = read_decision_summary(RunDirectory(run))
    names = dict.fromkeys(name for values in texts.values() for name in values)
    rows = tuple(
        (choices.labels.display_name(name), *(values.get(name, "–") for values in texts.values()))
        for name in names
    )
    stderr.table(Table("", ("", *texts), rows, frozenset(range(1, len(texts) + 1))))
    if note:
        stderr.print(note)
    print_choices(choices, stderr)


def print_choices(choices: DecisionSummary, stderr: console.Console) -> None:
    """Print the choices made on the validation rows, and warnings about them."""
    for line in choices.decisions:
        stderr.print(line)
    for note in choices.notes:
        console.warn(note)


def _timings_text(timings: dict[str, float]) -> str:
    return "seconds: " + ", ".join(f"{phase} {took:.2f}" for phase, took in timings.items())


def _result_json(event: RunFinished) -> dict[str, Any]:
    from trainer.report.decisions import decisions_json
    from trainer.runs.directory import RunDirectory

    return {
        "run": str(event.run),
        "status": event.status,
        "epochs": event.epochs,
        "best_epoch": event.best_epoch,
        "stopped_because": event.stopped_because,
        "metrics": event.metrics,
        "decisions": decisions_json(RunDirectory(event.run)),
        "sentence": event.sentence or None,
        **_compression_json(event.run),
        "report": f"{event.run}/report.html" if event.sentence else None,
        "weights_sha256": event.weights_sha256,
        "seconds": round(event.seconds, 3),
        "timings": {phase: round(took, 3) for phase, took in event.timings.items()},
    }


def _compression_json(run: Path) -> dict[str, Any]:
    from trainer.runs.compression import read_compression
    from trainer.runs.directory import RunDirectory
    from trainer.runs.records import to_json

    record = read_compression(RunDirectory(run))
    return {} if record is None else {"compression": to_json(record)}
