from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from trainer.tracking import background
from trainer.tracking.background import BackgroundTracker, SlowTrackerError
from trainer.tracking.tracker import EpochLogs, RunEnd


def epoch_logs(number: int) -> EpochLogs:
    return EpochLogs(number, 0.1, {"loss": 1.0}, 0.0)


class FakeTracker:
    """Records its calls; blocks in `on_run_start` until `released` is set."""

    def __init__(self, released: Event | None = None, broken: bool = False) -> None:
        self.released, self.broken = released, broken
        self.calls: list[Any] = []

    def wants_weights(self, epoch: int) -> bool:
        return epoch == 3

    def on_run_start(self, start: Any) -> None:
        if self.released is not None:
            self.released.wait()
        if self.broken:
            raise ConnectionError("no such host")
        self.calls.append("started")

    def on_epoch_end(self, epoch_logs: EpochLogs) -> None:
        self.calls.append(epoch_logs.number)

    def flush(self) -> None:
        self.calls.append("flush")

    def on_run_end(self, end: RunEnd) -> None:
        self.calls.append(end.status)

    def close(self) -> None:
        self.calls.append("close")


def started_tracker(fake: FakeTracker, start: Any, **more: Any) -> BackgroundTracker:
    tracker = BackgroundTracker(fake, **more)
    tracker.on_run_start(start)
    return tracker


def test_calls_are_forwarded_in_order(start: Callable) -> None:
    fake = FakeTracker()
    tracker = started_tracker(fake, start())
    for number in range(1, 100):
        tracker.on_epoch_end(epoch_logs(number))
    tracker.on_run_end(RunEnd("finished", 1, {}, None))
    tracker.close()
    calls = [call for call in fake.calls if call != "flush"]
    assert calls == ["started", *range(1, 100), "finished", "close"]
    assert fake.calls[-2] == "flush"
    assert tracker.wants_weights(3)
    assert not tracker.wants_weights(4)


def test_queue_is_flushed_once(start: Callable) -> None:
    released = Event()
    fake = FakeTracker(released)
    tracker = started_tracker(fake, start())
    for number in range(1, 5):
        tracker.on_epoch_end(epoch_logs(number))
    released.set()
    tracker.close()
    assert fake.calls == ["started", 1, 2, 3, 4, "flush", "close"]


def test_error_in_the_thread_is_raised_by_a_later_call(start: Callable) -> None:
    tracker = started_tracker(FakeTracker(broken=True), start())
    with pytest.raises(ConnectionError):
        tracker.close()
    with pytest.raises(ConnectionError):
        tracker.on_epoch_end(epoch_logs(1))


def test_unresponsive_tracker_times_out(start: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "TIMEOUT_SECONDS", 0.1)
    released = Event()
    fake = FakeTracker(released)
    tracker = started_tracker(fake, start())
    with pytest.raises(SlowTrackerError, match=r"no response for 0\.1 seconds"):
        tracker.close()
    released.set()  # calls after the timeout are dropped
    other = started_tracker(FakeTracker(), start())
    other.close()
    assert fake.calls == ["started", "flush", "close"]


def test_stopped_run_has_a_shorter_timeout(
    start: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "STOPPED_TIMEOUT_SECONDS", 0.1)
    released = Event()
    tracker = started_tracker(FakeTracker(released), start())
    tracker.on_run_end(RunEnd("stopped", 1, {}, None))
    with pytest.raises(SlowTrackerError, match=r"no response for 0\.1 seconds"):
        tracker.close()
    released.set()


def test_queue_is_bounded(start: Callable) -> None:
    released = Event()
    tracker = started_tracker(FakeTracker(released), start(), max_queued=10)
    # At most one call leaves the queue, and then blocks.
    for number in range(1, 10):
        tracker.on_epoch_end(epoch_logs(number))
    with pytest.raises(SlowTrackerError, match="10 epochs behind"):
        deque(map(tracker.on_epoch_end, map(epoch_logs, range(10, 20))))
    tracker.abandon()
    released.set()


def test_after_a_timeout_other_trackers_do_not_wait(
    start: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "TIMEOUT_SECONDS", 0.1)
    released = Event()
    first, *others = [started_tracker(FakeTracker(released), start()) for _ in range(5)]
    with pytest.raises(SlowTrackerError):
        first.close()
    monkeypatch.setattr(background, "monotonic", lambda: time.monotonic() + 0.1)
    for tracker in others:
        monkeypatch.setattr(tracker._changed, "wait", lambda seconds: pytest.fail("waited"))
        with pytest.raises(SlowTrackerError):
            tracker.close()
    released.set()
