"""A sweep on the command line: its live table, its result; of `sweep` and `resume`."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Set
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from trainer.errors import ResourceError, StorageError, command_text
from trainer.report.text import Table, cell, duration, number, plain_lines
from trainer_cli import console
from trainer_cli.training import Signals

if TYPE_CHECKING:
    from trainer.sweep.standing import Standing, TrialRow
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
    except (ResourceError, StorageError):
        if shown is not None:
            _close(shown)
            says.say(_goes_on(shown.sweep))
        raise
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
            "winner": None if winner is None else _facts(winner, finished.sweep),
            "metrics": finished.metrics,
            "trials": [_facts(row, finished.sweep) for row in finished.standing.rows],
            "seconds": round(finished.seconds, 3),
        }
    )


def _facts(row: TrialRow, sweep: Path) -> dict[str, Any]:
    """A trial's row, its run as a path that can be used; None where it was not kept."""
    facts = row.facts()
    run = None if facts["run"] is None else sweep / facts["run"]
    return {**facts, "run": str(run) if run is not None and run.is_dir() else None}


def settings_text(settings: Mapping[str, Any]) -> str:
    """`learning_rate=0.001 optimizer=adam`: a word of each key, the whole where two agree in it."""
    names = [_short(key) for key in settings]
    return " ".join(
        f"{key if names.count(name) > 1 else name}={_value(value)}"
        for name, (key, value) in zip(names, settings.items(), strict=True)
    )


def _short(key: str) -> str:
    """The last part of a key; of one that says no more than which of several, the part before too."""
    last = key.rpartition(".")[2]
    if last == "name":
        return key.removesuffix(".name")
    return key if last.isdecimal() else last


def _value(value: Any) -> str:
    from trainer.config.yaml_writer import flow_text

    if isinstance(value, float):
        return f"{value:.4g}"
    text = cell(flow_text(value))
    return text if len(text) <= _VALUE_WIDTH else f"{text[: _VALUE_WIDTH - 1]}…"


class _Shown:
    """What of a sweep is on the screen: a live table on a terminal, lines elsewhere."""

    def __init__(self, started: Any, says: console.Console) -> None:
        self.sweep: Path = started.sweep
        self._says, self._total = says, started.trials
        self._objective = started.standing.objective
        self._higher = started.standing.direction == "higher"
        self._settings: dict[int, Mapping[str, Any]] = {}
        self._epochs = started.plan.total_steps // started.plan.steps_per_epoch
        self._live: dict[int, tuple[int, float]] = {}
        # Those that each was last seen with; who is missing next time has ended, which is told of all of
        # them together.
        self._mates: dict[int, Set[int]] = {}
        self._trained: set[int] = set()
        self._done: dict[int, Any] = {}
        for row in started.standing.rows:
            self._settings[row.trial.number] = row.trial.settings
            if row.ended is not None:
                self._done[row.trial.number] = row.ended
        self._before = float(len(self._done))
        self._began = self._said_at = monotonic()
        self._screen = self._start_screen() if says.terminal and not says.quiet else None

    def planned(self, batch: Any) -> None:
        """A batch is trained from now on."""
        for trial in batch.trials:
            self._settings[trial.number] = trial.settings
        self._says.say(batch.text)

    def epoch(self, done: Any) -> None:
        """An epoch of trials that train together."""
        mates = done.objectives.keys()
        for trial, objective in done.objectives.items():
            if trial not in self._live:  # what was trained of it before took none of this time
                self._before += (done.epoch - 1) / self._epochs
            self._trained |= self._mates.get(trial, mates) - mates
            self._mates[trial] = mates
            self._live[trial] = (done.epoch, objective)
        self._tell()

    def ended(self, ended: Any) -> None:
        """A trial has ended."""
        self._live.pop(ended.number, None)
        self._trained.discard(ended.number)
        self._done[ended.number] = ended
        if ended.status == "failed":
            console.warn(f"trial {ended.number} failed: {ended.reason}")
        self._tell()

    def close(self) -> None:
        """Take the table off the screen; a second call does nothing."""
        if self._screen is not None:
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
        done, training = len(self._done) + len(self._trained), len(self._live) - len(self._trained)
        text = f"{done}{total} trials done, {training} in training"
        best = self._best()
        if best is not None:
            text += f"; best {self._objective} {number(best[1])} (trial {best[0]})"
        left = self._seconds_left()
        return text if left is None else f"{text}; about {duration(left)} left"

    def _best(self) -> tuple[int, float] | None:
        found = [
            (trial, objective)
            for trial, _, objective, status in self._rows()
            if status != "eliminated" and math.isfinite(objective)
        ]
        if not found:
            return None
        return (max if self._higher else min)(found, key=lambda each: each[1])

    def _seconds_left(self) -> float | None:
        """By the epochs that are done; one that has ended early goes with those it was trained with."""
        epochs = (
            max(self._live[mate][0] for mate in self._mates[trial] & self._live.keys())
            for trial in self._live
        )
        done = len(self._done) + sum(min(1.0, epoch / self._epochs) for epoch in epochs)
        if self._total is None or done <= self._before or len(self._done) == self._total:
            return None
        each = (monotonic() - self._began) / (done - self._before)
        return float(max(0.0, each * (self._total - done)))

    def _start_screen(self) -> Any:
        from rich.console import Console
        from rich.live import Live

        # The table of the best at the end takes its place.
        screen = Live(
            console=Console(stderr=True), refresh_per_second=_DRAWS_PER_SECOND, transient=True
        )
        screen.start()
        screen.update(self._table(), refresh=True)
        return screen

    def _table(self) -> Any:
        from rich.console import Group
        from rich.table import Table as RichTable

        table = RichTable(box=None)
        for name in ("trial", "epoch", self._objective, "status".ljust(len("eliminated"))):
            table.add_column(name, no_wrap=True, min_width=len(name))
        table.add_column("settings", no_wrap=True, overflow="ellipsis")
        for trial, epoch, objective, status in self._leading():
            table.add_row(
                str(trial),
                str(epoch),
                number(objective),
                status,
                settings_text(self._settings[trial]),
            )
        return Group(self._summary(), table)

    def _leading(self) -> list[tuple[int, int, float, str]]:
        """The best trials, those in training among them."""
        sign = -1 if self._higher else 1
        return sorted(
            self._rows(), key=lambda row: (not math.isfinite(row[2]), sign * row[2], row[0])
        )[:_SHOWN]

    def _rows(self) -> list[tuple[int, int, float, str]]:
        """Trial, epoch, objective and status of each that has not failed."""
        live = [
            (trial, epoch, value, "trained" if trial in self._trained else "training")
            for trial, (epoch, value) in self._live.items()
        ]
        return live + [
            (trial, ended.epochs, ended.objective, ended.status)
            for trial, ended in self._done.items()
            if ended.status != "failed"
        ]


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
    if event.warning:
        console.warn(event.warning)
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
    over = "; sweep.max_seconds are over" if event.reason == "seconds" else ""
    says.say(f"{done} trials in {duration(event.seconds)}{over}")
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
        says.say(_goes_on(event.sweep))


def _goes_on(sweep: Path) -> str:
    return f"resume with: {command_text('resume', sweep)}"


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
