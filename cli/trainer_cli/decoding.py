"""Show how many images are decoded: a bar on a terminal, occasional lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from trainer.data.decoding_progress import progress
from trainer_cli import console

_FIRST_SECONDS, _LINE_SECONDS = 1.0, 10.0


@contextmanager
def shown(*, quiet: bool) -> Iterator[None]:
    """While active, show the progress of image decoding that takes more than a second."""
    shows = _Decoding(console.Console(quiet=quiet))
    token = progress.set(None if quiet else shows.show)
    try:
        yield
    finally:
        progress.reset(token)
        shows.close()


class _Decoding:
    def __init__(self, stderr: console.Console) -> None:
        self._stderr = stderr
        self._started: float | None = None
        self._shown_at = 0.0
        self._bar: Any = None

    def show(self, done: int, total: int, work: str = "decoding images") -> None:
        now = monotonic()
        if self._started is None:
            self._started, self._shown_at = now, now - _LINE_SECONDS
        if done == total:
            self.close()
        elif now - self._started >= _FIRST_SECONDS:
            if self._stderr.terminal:
                self._show_bar(done, total, work)
            elif now - self._shown_at >= _LINE_SECONDS:
                self._shown_at = now
                self._stderr.print(f"{work}: {done:,} of {total:,}")

    def close(self) -> None:
        """Remove the bar; the next decoding starts from zero."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._started = None

    def _show_bar(self, done: int, total: int, work: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            columns = (
                TextColumn(work),
                MofNCompleteColumn(),
                BarColumn(bar_width=24),
                TimeRemainingColumn(compact=True),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done)
