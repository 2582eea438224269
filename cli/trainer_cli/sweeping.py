"""A sweep on the command line: its live table, its result; of `sweep` and `resume`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Generator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from trainer.report.text import Table, cell, duration, number, plain_lines
from trainer_cli import console
from trainer_cli.training import Signals

if TYPE_CHECKING:
    from trainer.sweep.standing import Standing
    from trainer.workflows.sweep import Event, SweepFinished

_LINE_SECONDS = 10.0
_DRAWS_PER_SECOND = 4
_SHOWN = 10
_VALUE_WIDTH = 40


def follow_sweep(
    events: Generator[Event, None, None], says: console.Console, signals: Signals
) -> SweepFinished:
    """Run a sweep to its end, saying what happens."""
    from trainer.sweep.trials import EpochDone, TrialEnded
    from trainer.workflows.sweep import SweepFinished, SweepStarted
    from trainer.workflows.trials import BatchPlanned

    shown: _Shown | None = None
    try:
        for event in events:
            match event:
                case SweepStarted():
                    signals.training = True
                    _say_start(event, says)
                    shown = _Shown(event, says)
                case BatchPlanned():
                    assert shown is not None
                    shown.planned(event)
                case EpochDone():
                    assert shown is not None
                    shown.epoch(event)
                case TrialEnded():
                    assert shown is not None
                    shown.ended(event)
                case SweepFinished():
                    _close(shown)
                    _say_end(event, says)
                    return event
    finally:
        signals.training = False
        _close(shown)
        events.close()
    raise AssertionError("a sweep ends with SweepFinished")


def give_sweep_result(finished: SweepFinished, *, json: bool) -> None:
    """The result on stdout."""
    if not json:
        console.result(str(finished.sweep))
        return
    winner = finished.winner
    console.json_result(
        {
            "sweep": str(finished.sweep),
            "status": "stopped" if finished.reason == "interrupted" else "finished",
            "objective": finished.standing.objective,
            "winner": None
            if winner is None or winner.ended is None
            else {**winner.facts(), "run": f"{finished.sweep}/{winner.ended.run}"},
            "metrics": finished.metrics,
            "trials": [row.facts() for row in finished.standing.rows],
            "seconds": round(finished.seconds, 3),
        }
    )


def settings_text(settings: Mapping[str, Any]) -> str:
    """`learning_rate=0.001 units=64`: the last part of each key, the whole where two agree in it."""
    names = [key.rpartition(".")[2] for key in settings]
    return " ".join(
        f"{key if names.count(name) > 1 else name}={_value(value)}"
        for name, (key, value) in zip(names, settings.items(), strict=True)
    )


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = cell(str(value))
    return text if len(text) <= _VALUE_WIDTH else f"{text[: _VALUE_WIDTH - 1]}…"


class _Shown:
    """What of a sweep is on the screen: a live table on a terminal, lines elsewhere."""

    def __init__(self, started: Any, says: console.Console) -> None:
        self._says, self._total = says, started.trials
        self._objective = started.standing.objective
        self._higher = started.standing.direction == "higher"
        self._settings: dict[int, Mapping[str, Any]] = {}
        self._live: dict[int, tuple[int, float]] = {}
        self._done: dict[int, Any] = {}
        for row in started.standing.rows:
            self._settings[row.trial.number] = row.trial.settings
            if row.ended is not None:
                self._done[row.trial.number] = row.ended
        self._before = len(self._done)
        self._began = self._said_at = monotonic()
        self._screen = self._start_screen() if says.terminal and not says.quiet else None

    def planned(self, batch: Any) -> None:
        """A batch is trained from now on."""
        for trial in batch.trials:
            self._settings[trial.number] = trial.settings
        if self._screen is None:
            self._says.say(batch.text)

    def epoch(self, done: Any) -> None:
        """An epoch of trials that train together."""
        for trial, objective in done.objectives.items():
            self._live[trial] = (done.epoch, objective)
        self._tell()

    def ended(self, ended: Any) -> None:
        """A trial has ended."""
        self._live.pop(ended.number, None)
        self._done[ended.number] = ended
        if ended.status == "failed":
            console.warn(f"trial {ended.number} failed: {ended.reason}")
        self._tell()

    def close(self) -> None:
        """Leave the last table on the screen; a second call does nothing."""
        if self._screen is not None:
            self._screen.update(self._table(), refresh=True)
            self._screen.stop()
            self._screen = None

    def _tell(self) -> None:
        now = monotonic()
        if self._screen is not None:
            if now - self._said_at >= 1 / _DRAWS_PER_SECOND:
                self._said_at = now
                self._screen.update(self._table())
        elif now - self._said_at >= _LINE_SECONDS:
            self._said_at = now
            self._says.say(self._summary())

    def _summary(self) -> str:
        total = "" if self._total is None else f"/{self._total}"
        text = f"{len(self._done)}{total} trials done, {len(self._live)} in training"
        best = self._best()
        if best is not None:
            text += f"; best {self._objective} {number(best[1])} (trial {best[0]})"
        left = self._seconds_left()
        return text if left is None else f"{text}; about {duration(left)} left"

    def _best(self) -> tuple[int, float] | None:
        found = [
            (trial, ended.objective)
            for trial, ended in self._done.items()
            if ended.status != "failed" and math.isfinite(ended.objective)
        ]
        if not found:
            return None
        return (max if self._higher else min)(found, key=lambda each: each[1])

    def _seconds_left(self) -> float | None:
        done = len(self._done) - self._before
        if self._total is None or done == 0:
            return None
        each = (monotonic() - self._began) / done
        return float(each * (self._total - len(self._done)))

    def _start_screen(self) -> Any:
        from rich.console import Console
        from rich.live import Live

        screen = Live(console=Console(stderr=True), refresh_per_second=_DRAWS_PER_SECOND)
        screen.start()
        return screen

    def _table(self) -> Any:
        from rich.table import Table as RichTable

        table = RichTable(title=self._summary(), title_justify="left", box=None)
        for name in ("trial", "epoch", self._objective, "status", "settings"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        for trial, epoch, objective, status in self._leading():
            table.add_row(
                str(trial),
                str(epoch),
                number(objective),
                status,
                settings_text(self._settings[trial]),
            )
        return table

    def _leading(self) -> list[tuple[int, int, float, str]]:
        """The best trials, those in training among them."""
        rows = [(trial, epoch, value, "training") for trial, (epoch, value) in self._live.items()]
        rows += [
            (trial, ended.epochs, ended.objective, ended.status)
            for trial, ended in self._done.items()
            if ended.status != "failed"
        ]
        sign = -1 if self._higher else 1
        rows.sort(key=lambda row: (not math.isfinite(row[2]), sign * row[2], row[0]))
        return rows[:_SHOWN]


def _close(shown: _Shown | None) -> None:
    if shown is not None:
        shown.close()


def _say_start(event: Any, says: console.Console) -> None:
    plan = event.plan
    prepared = plan.prepared
    rows = ", ".join(
        f"{prepared.rows(name)} {name}"
        for name in ("train", "validation", "test")
        if prepared.rows(name)
    )
    target = plan.question.target
    says.say(f"{plan.config.name}: {target.task} ({', '.join(target.columns)}); rows: {rows}")
    for warning in plan.warnings:
        console.warn(warning)
    count = "trials" if event.trials is None else f"{event.trials} trials"
    jobs = f"{event.jobs} job{'' if event.jobs == 1 else 's'}"
    objective = f"{event.standing.objective}, {event.standing.direction} is better"
    says.say(f"{event.search} search: {count}, {jobs}; objective: {objective}")
    done = sum(row.ended is not None for row in event.standing.rows)
    if done:
        says.say(f"{done} trials have ended already")


def _say_end(event: SweepFinished, says: console.Console) -> None:
    standing = event.standing
    done = sum(row.ended is not None for row in standing.rows)
    says.say(f"{done} trials in {duration(event.seconds)}")
    if standing.ranks:
        for line in plain_lines(best_table(standing)):
            says.say(line)
    if event.winner is not None and event.metrics:
        says.say()
        says.say(f"trial {event.winner.trial.number}, evaluated on each split:")
        splits = list(event.metrics)
        names = list(event.metrics[splits[0]])
        rows = tuple(
            (name, *(number(event.metrics[split].get(name, math.nan)) for split in splits))
            for name in names
        )
        right = frozenset(range(1, len(splits) + 1))
        for line in plain_lines(Table("", ("", *splits), rows, right)):
            says.say(line)
        says.say()
    if event.reason == "interrupted":
        says.say(f"it goes on with: trainer resume {shlex.quote(str(event.sweep))}")


def best_table(standing: Standing) -> Table:
    """The best trials: number, objective, epochs, status, settings."""
    rows = tuple(
        (
            number(row.trial.number),
            number(row.ended.objective),
            number(row.ended.epochs),
            row.ended.status,
            settings_text(row.trial.settings),
        )
        for row in standing.ranks[:_SHOWN]
        if row.ended is not None
    )
    return Table(
        "",
        ("trial", standing.objective, "epochs", "status", "settings"),
        rows,
        frozenset({0, 1, 2}),
    )
