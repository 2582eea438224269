"""Show the progress of a sweep: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from pathlib import Path
from time import monotonic
from typing import Any

from trainer.errors import pluralize
from trainer.report.text import duration, number
from trainer_cli import console

_LINE_SECONDS = 10.0
_DRAWS_PER_SECOND = 4
_MAX_SHOWN_TRIALS = 10


class SweepProgress:
    """Shows the phases, the epochs and the best trials so far.

    A running trial is shown with its best objective so far, as in the final table.
    """

    def __init__(self, stderr: console.Console) -> None:
        self.sweep: Path | None = None
        self._stderr = stderr
        self._total: int | None = None
        self._objective, self._higher, self._epochs = "", False, 1
        self._phase = ""
        self._settings: dict[int, Mapping[str, Any]] = {}
        from trainer.report.sweeps.text import SettingLabels

        self._labels = SettingLabels()
        # Trial → its epoch, its best objective so far and the epoch of that.
        self._live: dict[int, tuple[int, float, int | None]] = {}
        # Trial → trials of its pack in the last epoch. A trial missing from the next epoch has ended;
        # the event for its end comes when the whole pack has ended.
        self._pack_of: dict[int, Set[int]] = {}
        self._trained: set[int] = set()
        self._compiling: dict[tuple[int, ...], str] = {}
        self._done: dict[int, Any] = {}
        self._done_before_start = 0.0
        self._start_time: float | None = None  # the end of the first epoch
        self._shown_at = monotonic()
        self._screen: Any = None

    def phase_started(self, text: str) -> None:
        """Show the start of a phase that can take seconds."""
        self._phase = text
        if self._stderr.quiet:
            return
        if not self._stderr.terminal:
            self._stderr.print(f"{text} …")
            return
        if self._screen is None:
            self._screen = self._start_screen()
        self._screen.update(self._render(), refresh=True)

    def sweep_started(self, event: Any) -> None:
        """Handle the start or resume of the sweep."""
        self.sweep, self._total, self._phase = event.sweep, event.trials, ""
        self._objective = event.leaderboard.objective
        self._higher = event.leaderboard.direction == "higher"
        self._epochs = event.plan.total_steps // event.plan.steps_per_epoch
        self._labels = event.labels
        for row in event.leaderboard.rows:
            self._settings[row.trial.number] = row.trial.settings
            if row.ended is not None:
                self._done[row.trial.number] = row.ended
        self._done_before_start = float(len(self._done))
        self._shown_at = monotonic()

    def batch_started(self, batch: Any) -> None:
        """Handle the start of a batch."""
        for trial in batch.trials:
            self._settings[trial.number] = trial.settings
        self._stderr.print(batch.text)

    def pack_started(self, event: Any) -> None:
        """Handle the start of a pack, whose program is compiled next."""
        trials = pluralize(len(event.trials), "trial")
        after = f", from epoch {event.epoch + 1}" if event.epoch else ""
        text = f"compiling pack {event.position} of {event.packs} ({trials}{after})"
        self._compiling[tuple(event.trials)] = text
        self.phase_started(text)

    def epoch_ended(self, event: Any) -> None:
        """Handle an epoch of a pack."""
        pack = event.objectives.keys()
        if self._compiling:
            for trials in [trials for trials in self._compiling if pack & set(trials)]:
                del self._compiling[trials]
        self._phase = next(iter(self._compiling.values()), "")
        epochs_before = event.epoch - 1
        if self._start_time is None:
            # The first epoch does not count either: compilation would make it too long.
            self._start_time, epochs_before = monotonic(), event.epoch
        for trial in event.objectives:
            if trial not in self._live:  # epochs of an earlier process do not count
                self._done_before_start += epochs_before / self._epochs
            self._trained |= self._pack_of.get(trial, pack) - pack
            self._pack_of[trial] = pack
            best = event.best.get(trial)
            self._live[trial] = (event.epoch, *((math.nan, None) if best is None else best))
        self._refresh()

    def trial_ended(self, event: Any) -> None:
        """Handle the end of a trial."""
        self._live.pop(event.number, None)
        self._trained.discard(event.number)
        self._done[event.number] = event
        if event.status == "failed":
            console.warn(f"trial {event.number} failed: {event.reason}")
        self._refresh()

    def close(self) -> None:
        """Remove the table; a second call does nothing."""
        if self._screen is not None:
            self._screen.stop()
            self._screen = None

    def summary(self) -> str:
        """Return the progress as a line of text."""
        total = "" if self._total is None else f"/{self._total}"
        done, training = len(self._done) + len(self._trained), len(self._live) - len(self._trained)
        text = f"{done}{total} trials done, {training} training"
        best = self._best()
        if best is not None:
            text += f"; best {self._objective} {number(best[1])} (trial {best[0]})"
        left = self._seconds_left()
        return text if left is None else f"{text}; about {duration(left)} left"

    def leading(self) -> list[tuple[int, int, float, int | None, str]]:
        """Return trial, epoch, best objective, best epoch and status, ranked as in the final table."""
        sign = -1 if self._higher else 1
        return sorted(
            self._rows(),
            key=lambda row: (
                row[4] == "eliminated", not math.isfinite(row[2]), sign * row[2], row[0],
            ),
        )[:_MAX_SHOWN_TRIALS]  # fmt: skip

    def _refresh(self) -> None:
        now = monotonic()
        if self._screen is not None:
            if now - self._shown_at >= 1 / _DRAWS_PER_SECOND:
                self._shown_at = now
                self._screen.update(self._render())
        elif now - self._shown_at >= _LINE_SECONDS:
            self._shown_at = now
            self._stderr.print(self.summary())

    def _best(self) -> tuple[int, float] | None:
        for trial, _, objective, _, status in self.leading()[:1]:
            if status != "eliminated" and math.isfinite(objective):
                return trial, objective
        return None

    def _seconds_left(self) -> float | None:
        """Estimate from completed epochs; an eliminated trial counts as much as the rest of its pack."""
        epochs = (
            max(self._live[member][0] for member in self._pack_of[trial] & self._live.keys())
            for trial in self._live
        )
        done = len(self._done) + sum(min(1.0, epoch / self._epochs) for epoch in epochs)
        if (
            self._total is None
            or self._start_time is None
            or done <= self._done_before_start
            or len(self._done) == self._total
        ):
            return None
        per_trial = (monotonic() - self._start_time) / (done - self._done_before_start)
        return float(max(0.0, per_trial * (self._total - done)))

    def _start_screen(self) -> Any:
        from rich.console import Console
        from rich.live import Live

        # Transient: the final table replaces it.
        screen = Live(
            console=Console(stderr=True), refresh_per_second=_DRAWS_PER_SECOND, transient=True
        )
        screen.start()
        return screen

    def _render(self) -> Any:
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        status = Text(f"{self._phase} …" if self._phase else "", no_wrap=True, overflow="ellipsis")
        if not self._rows():
            return status
        table = RichTable(box=None)
        names = ("trial", self._objective, "best epoch", "epoch", "status".ljust(len("eliminated")))
        for name in names:
            table.add_column(name, no_wrap=True, min_width=len(name))
        table.add_column("settings", no_wrap=True, overflow="ellipsis")
        leading = self.leading()
        for trial, epoch, objective, best, state in leading:
            table.add_row(
                str(trial),
                number(objective),
                "–" if best is None else str(best),
                str(epoch),
                state,
                Text(self._labels.settings(self._settings[trial])),
            )
        rows = len(self._rows())
        more = [Text(f"the best {len(leading)} of {rows} trials")] if rows > len(leading) else []
        return Group(self.summary(), table, *more, *([status] if self._phase else []))

    def _rows(self) -> list[tuple[int, int, float, int | None, str]]:
        """Return all trials that have not failed."""
        live = [
            (trial, epoch, value, best, "trained" if trial in self._trained else "training")
            for trial, (epoch, value, best) in self._live.items()
        ]
        return live + [
            (trial, ended.epochs, ended.objective, ended.best_epoch, ended.status)
            for trial, ended in self._done.items()
            if ended.status != "failed"
        ]
