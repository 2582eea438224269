"""A tracker that is told of a run from a thread of its own, so that one that is slow, or never answers,
takes no time of the training.

What waits for it is bounded, and so is the time that the run waits at its end: as long as something is
taken in, and `TIMEOUT_SECONDS` longer. Trackers of one process are told one after the other: many
threads would only wait for each other at the same store, and one that has been waited for in vain need
not be waited for again by the next.

Owns: the thread. Does not own: what becomes of a tracker that fails (`trackers`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition, Lock, Thread
from time import monotonic
from typing import Protocol

from trainer.tracking.tracker import EpochLogs, RunEnd, RunStart, Tracker

TIMEOUT_SECONDS = 60.0
"""So long a run waits at its end for a tracker that takes nothing in."""
STOPPED_TIMEOUT_SECONDS = 5.0
"""So long where it was stopped: whoever stops a run wants it to end."""
MAX_QUEUED = 20_000
"""Epochs that a tracker may be behind."""


class SlowTrackerError(Exception):
    """The tracker does not keep up with the run."""


class BufferedTracker(Tracker, Protocol):
    """A tracker that gathers what it is told, to send it in larger parts."""

    def flush(self) -> None:
        """Send what is gathered; called when nothing else is waiting."""
        ...


@dataclass(slots=True)
class _Turns:
    """Whose turn it is, and when something was last taken in, by any of this process."""

    lock: Lock = field(default_factory=Lock)
    moved_at: float = -float("inf")


_TURNS = _Turns()


class BackgroundTracker:
    """A tracker in a thread of its own.

    An error of the thread's is raised by the next call; then the tracker is not to be told any more.
    """

    def __init__(self, tracker: BufferedTracker, max_queued: int = MAX_QUEUED) -> None:
        """Begin the thread.

        Args:
            tracker: Called in the thread alone, but for `wants_weights`.
            max_queued: Epochs that it may be behind.
        """
        self._tracker = tracker
        self._most_waiting = max_queued
        self._waiting: deque[Callable[[], None]] = deque()
        self._changed = Condition()
        self._closing = self._given_up = self._done = False
        self._asked_at = monotonic()
        self._patience = TIMEOUT_SECONDS
        self._error: Exception | None = None
        Thread(target=self._work, name="tracking", daemon=True).start()

    def wants_weights(self, epoch: int) -> bool:
        """As in `Tracker`."""
        return self._tracker.wants_weights(epoch)

    def started(self, start: RunStart) -> None:
        """As in `Tracker`."""
        self._tell(lambda: self._tracker.started(start))

    def epoch(self, epoch: EpochLogs) -> None:
        """As in `Tracker`.

        Raises:
            SlowTrackerError: Too many wait.
        """
        self._tell(lambda: self._tracker.epoch(epoch))

    def finished(self, end: RunEnd) -> None:
        """As in `Tracker`."""
        if end.status == "stopped":
            self._patience = STOPPED_TIMEOUT_SECONDS
        self._tell(lambda: self._tracker.finished(end))

    def close(self) -> None:
        """Wait until all is taken in.

        Raises:
            SlowTrackerError: It was waited for in vain; the thread is left to itself.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            while not self._done:
                left = max(_TURNS.moved_at, self._asked_at) + self._patience - monotonic()
                if left <= 0:
                    self._given_up = True
                    raise SlowTrackerError(f"no answer for {self._patience:g} seconds")
                self._changed.wait(min(left, 1.0))
        self._raise()

    def abandon(self) -> None:
        """Do not wait: the thread ends with what it is at."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _tell(self, action: Callable[[], None]) -> None:
        with self._changed:
            self._raise()
            if len(self._waiting) >= self._most_waiting:
                raise SlowTrackerError(f"it is {len(self._waiting):,} epochs behind")
            if not self._waiting:
                self._asked_at = monotonic()
            self._waiting.append(action)
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while (action := self._next()) is not None:
                with _TURNS.lock:
                    _TURNS.moved_at = monotonic()
                    if self._given_up:
                        break
                    action()
                    if not self._waiting:
                        self._tracker.flush()
                    _TURNS.moved_at = monotonic()
            self._tracker.close()
        except Exception as error:
            self._error = error
        with self._changed:
            self._done = True
            self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing or self._given_up)
            return self._waiting.popleft() if self._waiting and not self._given_up else None
