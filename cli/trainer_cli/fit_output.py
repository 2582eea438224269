"""Signals and output of `fit` and `resume`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.errors import command_text
from trainer.report.text import Table, duration, number, pluralize
from trainer_cli import console
from trainer_cli.options import SPLITS

if TYPE_CHECKING:
    from trainer.report.decisions import DecisionSummary
    from trainer.workflows.session import Session
    from trainer.workflows.training import Event, RunFinished

Timings = Annotated[bool, typer.Option("--timings", help="Print the seconds of each phase.")]


class Stopped(KeyboardInterrupt):
    """Raised by a signal that must end the command at once."""


class Signals:
    """Handles Ctrl-C and SIGTERM: the first stops training with a checkpoint, the second at once."""

    def __init__(self) -> None:
        self.training = False
        self._received: int | None = None
        self._raised = False

    @property
    def exit_code(self) -> int:
        """75 after SIGTERM, 130 after Ctrl-C."""
        return 75 if self._received == signal.SIGTERM else 130

    def reason(self) -> str | None:
        """Return why training should stop; None if it should not."""
        if self._received is None:
            return None
        return "stopped by SIGTERM" if self._received == signal.SIGTERM else "stopped by Ctrl-C"

    def session(self, *, allow_custom: bool) -> Session:
        """Return the session of this command, which the signals interrupt."""
        from trainer.workflows.session import Session

        return Session(("trainer", *sys.argv[1:]), allow_custom, self.reason)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """While active, handle the two signals.

        Raises:
            Stopped: A signal had to end the command at once; also if a library turned the exception
                into another one.
        """
        previous = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        try:
            yield
        except Exception as error:
            if self._raised:
                raise Stopped from error
            raise
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        at_once = self._received is not None or not self.training
        self._received = number
        if at_once:
            self._raised = True
            raise Stopped


_MANY_ROWS = 50_000
"""Number of rows from which the evaluation takes so long that it is announced."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def follow_training(
    events: Generator[Event, None, None], stderr: console.Console, signals: Signals
) -> RunFinished:
    """Train to the end and print the progress."""
    from trainer.workflows.training import RunFinished, RunStarted
    from trainer_cli.progress import Progress

    progress: Progress | None = None
    rows = 0
    try:
        for event in events:
            match event:
                case RunStarted():
                    _print_start(event, stderr)
                    progress = Progress(stderr, event.plan)
                    rows = sum(event.plan.dataset.rows(name) for name in SPLITS)
                    signals.training = True
                case RunFinished():
                    _closed(progress)
                    _print_end(event, stderr)
                    return event
                case _:
                    assert progress is not None
                    progress.show(event)
                    if signals.reason() is None and _ends_training(event) and rows >= _MANY_ROWS:
                        _closed(progress)
                        stderr.print(f"evaluating {rows:,} rows …")
    finally:
        signals.training = False
        _closed(progress)
        events.close()
    raise AssertionError("a run ends with Finished")


def print_result(
    finished: RunFinished, stderr: console.Console, *, json: bool, timings: bool
) -> None:
    """Print the result on stdout, after the timings on stderr if requested."""
    if timings:
        stderr.print(_timings_text(finished.timings))
    if json:
        console.json_result(_result_json(finished))
    else:
        console.result(str(finished.run))


def _ends_training(event: Any) -> bool:
    return getattr(event, "stop", None) is not None


def _closed(progress: Any) -> None:
    if progress is not None:
        progress.close()


def _print_start(event: Any, stderr: console.Console) -> None:
    plan = event.plan
    dataset = plan.dataset
    stderr.print(data_summary(plan))
    parameters = "" if plan.parameters is None else f", {plan.parameters:,} parameters"
    stderr.print(
        f"network: {len(dataset.preprocessing.feature_names):,} inputs, "
        f"{' → '.join(layer.name for layer in plan.layers)}{parameters}"
    )
    threads = pluralize(event.device.threads, "thread")
    stderr.print(f"device: {event.device.name}, {threads} ({event.device.reason})")
    stderr.print(f"engine: {plan.engine.engine} ({plan.engine.reason})")
    for warning in plan.warnings:
        console.warn(warning)
    for note in plan.notes:
        stderr.print(f"note: {note}")
    for note in event.notes:
        stderr.print(note)


def _print_end(event: RunFinished, stderr: console.Console) -> None:
    from trainer.report.decisions import read_decision_summary
    from trainer.runs.directory import RunDirectory

    stderr.print(
        f"{event.stopped_because} after {pluralize(event.epochs, 'epoch')}; "
        f"best epoch {event.best_epoch:,}; {duration(event.seconds)}"
    )
    if event.metrics:
        stderr.print()
        splits = list(event.metrics)
        names = list(event.metrics[splits[0]])
        choices = read_decision_summary(RunDirectory(event.run))
        rows = tuple(
            (choices.labels.of(name), *(number(event.metrics[split][name]) for split in splits))
            for name in names
        )
        right = frozenset(range(1, len(splits) + 1))
        stderr.table(Table("", ("", *splits), rows, right))
        print_choices(choices, stderr)
        stderr.print()
    if event.sentence:
        stderr.print(event.sentence)
        stderr.print(f"report: {event.run}/report.html")
        stderr.print()
    if event.weights_sha256 is not None:
        stderr.print(f"weights sha256: {event.weights_sha256}")
    if event.status == "stopped":
        stderr.print(f"resume with: {command_text('resume', event.run)}")


def data_summary(plan: Any) -> str:
    """Return the task, the targets and the rows of each split as text."""
    target, dataset = plan.task.target, plan.dataset
    rows = ", ".join(f"{dataset.rows(name):,} {name}" for name in SPLITS if dataset.rows(name))
    return f"{plan.config.name}: {target.task} ({', '.join(target.columns)}); rows: {rows}"


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
        "report": f"{event.run}/report.html" if event.sentence else None,
        "weights_sha256": event.weights_sha256,
        "seconds": round(event.seconds, 3),
        "timings": {phase: round(took, 3) for phase, took in event.timings.items()},
    }
