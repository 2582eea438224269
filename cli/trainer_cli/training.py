"""A training on the command line: its signals, what is said of it, its result; of `fit` and `resume`."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.errors import command_text
from trainer.report.text import Table, counted, duration, number
from trainer_cli import console
from trainer_cli.settings import SPLITS

if TYPE_CHECKING:
    from trainer.report.choices import Choices
    from trainer.workflows.training import Event, Finished

Timings = Annotated[bool, typer.Option("--timings", help="Print the seconds that each phase took.")]


class Stopped(KeyboardInterrupt):
    """A signal that could not wait."""


class Signals:
    """Ctrl-C and SIGTERM: the first ends training with a checkpoint, the second ends it at once."""

    def __init__(self) -> None:
        self.training = False
        self._received: int | None = None
        self._raised = False

    @property
    def exit_code(self) -> int:
        """75 after SIGTERM, 130 after Ctrl-C."""
        return 75 if self._received == signal.SIGTERM else 130

    def reason(self) -> str | None:
        """Why training should stop, if it should."""
        if self._received is None:
            return None
        return "stopped by SIGTERM" if self._received == signal.SIGTERM else "stopped by Ctrl-C"

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Within it the two signals are taken in.

        Raises:
            Stopped: One could not wait, whatever became of that in the code that it met: a library may
                make an error of its own of it.
        """
        former = {number: signal.signal(number, self._take) for number in _SIGNALS}
        try:
            yield
        except Exception as made_of_it:
            if self._raised:
                raise Stopped from made_of_it
            raise
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        now = self._received is not None or not self.training
        self._received = number
        if now:
            self._raised = True
            raise Stopped


_MANY_ROWS = 50_000
"""From here on the evaluation takes seconds, or minutes, in which nothing would be shown."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def follow(
    events: Generator[Event, None, None], says: console.Console, signals: Signals
) -> Finished:
    """Run a training to its end, saying what happens."""
    from trainer.workflows.training import Finished, Started
    from trainer_cli.progress import Progress

    progress: Progress | None = None
    rows = 0
    try:
        for event in events:
            match event:
                case Started():
                    _say_start(event, says)
                    progress = Progress(says, event.plan)
                    rows = sum(event.plan.prepared.rows(name) for name in SPLITS)
                    signals.training = True
                case Finished():
                    _closed(progress)
                    _say_end(event, says)
                    return event
                case _:
                    assert progress is not None
                    progress.show(event)
                    if signals.reason() is None and _ends_training(event) and rows >= _MANY_ROWS:
                        _closed(progress)
                        says.say(f"evaluating {rows:,} rows …")
    finally:
        signals.training = False
        _closed(progress)
        events.close()
    raise AssertionError("a run ends with Finished")


def give_result(finished: Finished, says: console.Console, *, json: bool, timings: bool) -> None:
    """The result on stdout, the seconds before it if they are wanted."""
    if timings:
        says.say(_timings_text(finished.timings))
    if json:
        console.json_result(_facts(finished))
    else:
        console.result(str(finished.run))


def _ends_training(event: Any) -> bool:
    return getattr(event, "stop", None) is not None


def _closed(progress: Any) -> None:
    if progress is not None:
        progress.close()


def _say_start(event: Any, says: console.Console) -> None:
    plan = event.plan
    prepared = plan.prepared
    says.say(data_line(plan))
    parameters = "" if plan.parameters is None else f", {plan.parameters:,} parameters"
    says.say(
        f"network: {len(prepared.preprocessing.feature_names):,} inputs, "
        f"{' → '.join(layer.name for layer in plan.layers)}{parameters}"
    )
    threads = counted(event.device.threads, "thread")
    says.say(f"device: {event.device.name}, {threads} ({event.device.reason})")
    says.say(f"engine: {plan.engine.engine} ({plan.engine.reason})")
    for warning in plan.warnings:
        console.warn(warning)
    for note in plan.notes:
        says.say(f"note: {note}")
    for note in event.notes:
        says.say(note)


def _say_end(event: Finished, says: console.Console) -> None:
    from trainer.report.choices import read_choices
    from trainer.runs.directory import RunDirectory

    says.say(
        f"{event.stopped_because} after {counted(event.epochs, 'epoch')}; "
        f"best epoch {event.best_epoch:,}; {duration(event.seconds)}"
    )
    if event.metrics:
        says.say()
        splits = list(event.metrics)
        names = list(event.metrics[splits[0]])
        choices = read_choices(RunDirectory(event.run))
        rows = tuple(
            (choices.labels.of(name), *(number(event.metrics[split][name]) for split in splits))
            for name in names
        )
        right = frozenset(range(1, len(splits) + 1))
        says.table(Table("", ("", *splits), rows, right))
        say_choices(choices, says)
        says.say()
    if event.sentence:
        says.say(event.sentence)
        says.say(f"report: {event.run}/report.html")
        says.say()
    if event.weights_sha256 is not None:
        says.say(f"weights sha256: {event.weights_sha256}")
    if event.status == "stopped":
        says.say(f"resume with: {command_text('resume', event.run)}")


def data_line(plan: Any) -> str:
    """What is predicted, and the rows of each split."""
    target, prepared = plan.question.target, plan.prepared
    rows = ", ".join(f"{prepared.rows(name):,} {name}" for name in SPLITS if prepared.rows(name))
    return f"{plan.config.name}: {target.task} ({', '.join(target.columns)}); rows: {rows}"


def say_choices(choices: Choices, says: console.Console) -> None:
    """What was chosen on the validation rows, and what could not be."""
    for line in choices.decisions:
        says.say(line)
    for note in choices.notes:
        console.warn(note)


def _timings_text(timings: dict[str, float]) -> str:
    return "seconds: " + ", ".join(f"{phase} {took:.2f}" for phase, took in timings.items())


def _facts(event: Finished) -> dict[str, Any]:
    from trainer.report.choices import decisions_json
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
