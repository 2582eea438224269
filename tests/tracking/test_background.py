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


def epoch(number: int) -> EpochLogs:
    return EpochLogs(number, 0.1, {"loss": 1.0}, 0.0)


class Listener:
    """Remembers what it is told; `until` says when it takes anything in."""

    def __init__(self, until: Event | None = None, broken: bool = False) -> None:
        self.until, self.broken = until, broken
        self.heard: list[Any] = []

    def wants_weights(self, epoch: int) -> bool:
        return epoch == 3

    def started(self, start: Any) -> None:
        if self.until is not None:
            self.until.wait()
        if self.broken:
            raise ConnectionError("no such host")
        self.heard.append("started")

    def epoch(self, epoch: EpochLogs) -> None:
        self.heard.append(epoch.number)

    def flush(self) -> None:
        self.heard.append("flush")

    def finished(self, end: RunEnd) -> None:
        self.heard.append(end.status)

    def close(self) -> None:
        self.heard.append("close")


def told(listener: Listener, start: Any, **more: Any) -> BackgroundTracker:
    one = BackgroundTracker(listener, **more)
    one.started(start)
    return one


def test_it_is_told_in_order_and_to_the_end(start: Callable) -> None:
    listener = Listener()
    one = told(listener, start())
    for number in range(1, 100):
        one.epoch(epoch(number))
    one.finished(RunEnd("finished", 1, {}, None))
    one.close()
    heard = [what for what in listener.heard if what != "flush"]
    assert heard == ["started", *range(1, 100), "finished", "close"]
    assert listener.heard[-2] == "flush"
    assert one.wants_weights(3)
    assert not one.wants_weights(4)


def test_what_gathers_while_it_is_busy_is_flushed_once(start: Callable) -> None:
    until = Event()
    listener = Listener(until)
    one = told(listener, start())
    for number in range(1, 5):
        one.epoch(epoch(number))
    until.set()
    one.close()
    assert listener.heard == ["started", 1, 2, 3, 4, "flush", "close"]


def test_an_error_is_raised_by_a_later_call(start: Callable) -> None:
    one = told(Listener(broken=True), start())
    with pytest.raises(ConnectionError):
        one.close()
    with pytest.raises(ConnectionError):
        one.epoch(epoch(1))


def test_one_that_never_answers_is_waited_for_so_long(
    start: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "TIMEOUT_SECONDS", 0.1)
    until = Event()
    listener = Listener(until)
    one = told(listener, start())
    with pytest.raises(SlowTrackerError, match=r"no response for 0\.1 seconds"):
        one.close()
    until.set()  # what comes too late is left out
    other = told(Listener(), start())
    other.close()
    assert listener.heard == ["started", "flush", "close"]


def test_a_run_that_was_stopped_waits_less(
    start: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "STOPPED_TIMEOUT_SECONDS", 0.1)
    until = Event()
    one = told(Listener(until), start())
    one.finished(RunEnd("stopped", 1, {}, None))
    with pytest.raises(SlowTrackerError, match=r"no response for 0\.1 seconds"):
        one.close()
    until.set()


def test_too_many_epochs_are_not_kept(start: Callable) -> None:
    until = Event()
    one = told(Listener(until), start(), max_queued=10)
    # One or none of them is taken out of the queue, and then waits.
    for number in range(1, 10):
        one.epoch(epoch(number))
    with pytest.raises(SlowTrackerError, match="10 epochs behind"):
        deque(map(one.epoch, map(epoch, range(10, 20))))
    one.abandon()
    until.set()


def test_the_next_does_not_wait_for_what_was_waited_for_in_vain(
    start: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "TIMEOUT_SECONDS", 0.1)
    until = Event()
    first, *others = [told(Listener(until), start()) for _ in range(5)]
    with pytest.raises(SlowTrackerError):
        first.close()
    monkeypatch.setattr(background, "monotonic", lambda: time.monotonic() + 0.1)
    for one in others:
        monkeypatch.setattr(one._changed, "wait", lambda seconds: pytest.fail("it waits"))
        with pytest.raises(SlowTrackerError):
            one.close()
    until.set()
