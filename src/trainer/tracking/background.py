"""Run a tracker in a background thread, so that a slow or unresponsive one does not slow training down.

The queue is bounded, and so is the time that a run waits at its end: until `TIMEOUT_SECONDS` after the
tracker last made progress. The trackers of a process take turns: many threads would only wait for each
other at the same server, and after one of them has timed out, the next need not wait again.
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
"""Time that a run waits at its end for a tracker that makes no progress."""
STOPPED_TIMEOUT_SECONDS = 5.0
"""The same for a stopped run, which the user wants to end."""
MAX_QUEUED = 20_000
"""Maximum number of epochs that a tracker can fall behind."""


class SlowTrackerError(Exception):
    """The tracker cannot keep up with the run."""


class BufferedTracker(Tracker, Protocol):
    """A tracker that buffers what it receives, to send it in larger batches."""

    def flush(self) -> None:
        """Send what is buffered; called when the queue is empty."""
        ...


@dataclass(slots=True)
class _Turns:
    """The lock that trackers of this process take turns with, and the time of their last progress."""

    lock: Lock = field(default_factory=Lock)
    progress_at: float = -float("inf")


_TURNS = _Turns()


class BackgroundTracker:
    """A tracker in a background thread.

    An error in the thread is raised by the next call; after that, the tracker must not be used.
    """

    def __init__(self, tracker: BufferedTracker, max_queued: int = MAX_QUEUED) -> None:
        """Start the thread.

        Args:
            tracker: The tracker; only `wants_weights` is called outside the thread.
            max_queued: Maximum number of epochs that it can fall behind.
        """
        self._tracker = tracker
        self._most_waiting = max_queued
        self._queue: deque[Callable[[], None]] = deque()
        self._changed = Condition()
        self._closing = self._abandoned = self._done = False
        self._queued_at = monotonic()
        self._timeout = TIMEOUT_SECONDS
        self._error: Exception | None = None
        Thread(target=self._work, name="tracking", daemon=True).start()

    def wants_weights(self, epoch: int) -> bool:
        return self._tracker.wants_weights(epoch)

    def on_run_start(self, start: RunStart) -> None:
        self._enqueue(lambda: self._tracker.on_run_start(start))

    def on_epoch_end(self, epoch: EpochLogs) -> None:
        """Queue an epoch.

        Raises:
            SlowTrackerError: The queue is full.
        """
        self._enqueue(lambda: self._tracker.on_epoch_end(epoch))

    def on_run_end(self, end: RunEnd) -> None:
        if end.status == "stopped":
            self._timeout = STOPPED_TIMEOUT_SECONDS
        self._enqueue(lambda: self._tracker.on_run_end(end))

    def close(self) -> None:
        """Wait until the queue is empty.

        Raises:
            SlowTrackerError: The tracker timed out; its thread is abandoned.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            while not self._done:
                remaining = max(_TURNS.progress_at, self._queued_at) + self._timeout - monotonic()
                if remaining <= 0:
                    self._abandoned = True
                    raise SlowTrackerError(f"no response for {self._timeout:g} seconds")
                self._changed.wait(min(remaining, 1.0))
        self._raise()

    def abandon(self) -> None:
        """Let the thread end after its current action, without waiting for it."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _enqueue(self, action: Callable[[], None]) -> None:
        with self._changed:
            self._raise()
            if len(self._queue) >= self._most_waiting:
                raise SlowTrackerError(f"it is {len(self._queue):,} epochs behind")
            if not self._queue:
                self._queued_at = monotonic()
            self._queue.append(action)
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while (action := self._next()) is not None:
                with _TURNS.lock:
                    _TURNS.progress_at = monotonic()
                    if self._abandoned:
                        break
                    action()
                    if not self._queue:
                        self._tracker.flush()
                    _TURNS.progress_at = monotonic()
            self._tracker.close()
        except Exception as error:
            self._error = error
        with self._changed:
            self._done = True
            self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing or self._abandoned)
            return self._queue.popleft() if self._queue and not self._abandoned else None
