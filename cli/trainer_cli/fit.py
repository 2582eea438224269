"""`trainer fit`: train and evaluate one or more configs, one after the other."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.errors import ConfigError, Problem, TrainerError, UsageError
from trainer.report.text import Table, duration, number, plain_lines
from trainer_cli import console
from trainer_cli.settings import (
    DEFAULT_RUNS,
    AllowCustom,
    Json,
    Quiet,
    Runs,
    Words,
    configs_and_overrides,
)

if TYPE_CHECKING:
    from trainer.config.load import LoadedConfig
    from trainer.workflows.fit import Finished


def command(
    words: Words,
    runs: Runs = DEFAULT_RUNS,
    quiet: Quiet = False,
    json: Json = False,
    timings: Annotated[
        bool, typer.Option("--timings", help="Print the seconds that each phase took.")
    ] = False,
    allow_custom: AllowCustom = False,
) -> int:
    """Train and evaluate one or more configs; print the run directory of each.

    Example: trainer fit configs/breast_cancer.yaml optimizer.learning_rate=3e-4
    """
    configs, overrides = configs_and_overrides(words)
    if runs.exists() and not runs.is_dir():
        raise UsageError(
            Problem("--runs", "a folder for run directories", f"the file {runs}", "name a folder")
        )
    loaded = _load_all(configs, overrides)
    says = console.Console(quiet=quiet)
    signals = Signals()
    try:
        with signals.caught():
            return _fit_all(
                loaded,
                runs,
                says,
                json=json,
                timings=timings,
                allow_custom=allow_custom,
                signals=signals,
            )
    except Stopped:
        # Caught here, as typer would take it for Ctrl-C whatever the signal was.
        console.error(str(signals.reason()))
        return signals.exit_code


def _load_all(configs: list[Path], overrides: list[str]) -> list[LoadedConfig]:
    """All configs, before any is trained: a typing error in the last one is not found an hour later."""
    from trainer.config.load import load_config

    loaded: list[LoadedConfig] = []
    problems: list[Problem] = []
    for config in configs:
        try:
            loaded.append(load_config(config, overrides))
        except ConfigError as wrong:
            problems += wrong.problems
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return loaded


def _fit_all(
    loaded: list[LoadedConfig],
    runs: Path,
    says: console.Console,
    *,
    json: bool,
    timings: bool,
    allow_custom: bool,
    signals: Signals,
) -> int:
    code = 0
    for config in loaded:
        try:
            finished = _fit(config, runs, says, allow_custom=allow_custom, signals=signals)
        except TrainerError as wrong:
            if len(loaded) == 1:
                raise
            # One bad config of several does not take the others' results away.
            code = console.tell(wrong, json=json)
            continue
        if timings:
            says.say(_timings_text(finished.timings))
        if json:
            console.json_result(_facts(finished))
        else:
            console.result(str(finished.run))
        if finished.status == "stopped":
            return signals.exit_code
    return code


class Stopped(KeyboardInterrupt):
    """A signal that could not wait."""


class Signals:
    """Ctrl-C and SIGTERM: the first ends training with its epoch, the second ends it at once."""

    def __init__(self) -> None:
        self.training = False
        self._received: int | None = None

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
        """Within it the two signals are taken in."""
        former = {number: signal.signal(number, self._take) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        now = self._received is not None or not self.training
        self._received = number
        if now:
            raise Stopped


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _fit(
    loaded: LoadedConfig,
    runs: Path,
    says: console.Console,
    *,
    allow_custom: bool,
    signals: Signals,
) -> Finished:
    from trainer.workflows.fit import Finished, Started, fit_run
    from trainer_cli.progress import Progress

    events = fit_run(
        loaded,
        runs=runs,
        command=("trainer", *sys.argv[1:]),
        allow_custom=allow_custom,
        interrupted=signals.reason,
    )
    progress: Progress | None = None
    try:
        for event in events:
            match event:
                case Started():
                    _say_start(event, says)
                    progress = Progress(says, event.plan)
                    signals.training = True
                case Finished():
                    return _ended(event, progress, says)
                case _:
                    assert progress is not None
                    progress.epoch(event)
    finally:
        signals.training = False
        if progress is not None:
            progress.close()
        events.close()
    raise AssertionError("a run ends with Finished")


def _say_start(event: Any, says: console.Console) -> None:
    plan = event.plan
    prepared, question = plan.prepared, plan.question
    target = question.target
    rows = ", ".join(
        f"{prepared.rows(name)} {name}"
        for name in ("train", "validation", "test")
        if prepared.rows(name)
    )
    says.say(f"{plan.config.name}: {target.task} ({', '.join(target.columns)}); rows: {rows}")
    parameters = "" if plan.parameters is None else f", {plan.parameters:,} parameters"
    says.say(
        f"network: {len(prepared.preprocessing.feature_names)} inputs, "
        f"{' → '.join(layer.name for layer in plan.layers)}{parameters}"
    )
    threads = f"{event.device.threads} thread{'s' if event.device.threads != 1 else ''}"
    says.say(f"device: {event.device.name}, {threads} ({event.device.reason})")
    says.say(f"engine: {plan.engine.engine} ({plan.engine.reason})")
    for warning in plan.warnings:
        console.warn(warning)
    for line in event.warm_start:
        says.say(f"warm start: {line}")


def _ended(event: Finished, progress: Any, says: console.Console) -> Finished:
    if progress is not None:
        progress.close()
    says.say(
        f"{event.stopped_because} after {event.epochs} epochs; "
        f"best epoch {event.best_epoch}; {duration(event.seconds)}"
    )
    if event.metrics:
        says.say()
        splits = list(event.metrics)
        names = list(event.metrics[splits[0]])
        rows = tuple(
            (name, *(number(event.metrics[split][name]) for split in splits)) for name in names
        )
        right = frozenset(range(1, len(splits) + 1))
        for line in plain_lines(Table("", ("", *splits), rows, right)):
            says.say(line)
        says.say()
    says.say(f"weights sha256: {event.weights_sha256}")
    if event.status == "stopped":
        says.say(f"the last state is kept in {event.run}/checkpoints/last")
    return event


def _timings_text(timings: dict[str, float]) -> str:
    return "seconds: " + ", ".join(f"{phase} {took:.2f}" for phase, took in timings.items())


def _facts(event: Finished) -> dict[str, Any]:
    return {
        "run": str(event.run),
        "status": event.status,
        "epochs": event.epochs,
        "best_epoch": event.best_epoch,
        "stopped_because": event.stopped_because,
        "metrics": event.metrics,
        "weights_sha256": event.weights_sha256,
        "seconds": round(event.seconds, 3),
        "timings": {phase: round(took, 3) for phase, took in event.timings.items()},
    }
