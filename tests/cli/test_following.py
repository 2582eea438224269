"""Following a training run: its last event is returned, and it is always closed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from trainer.errors import Problem, ResourceError
from trainer_cli.following import Signals, View, follow, show_training


@dataclass
class Ended:
    status: Literal["finished", "stopped"]


class Recorder(View[Ended]):
    """A view that records the events that it shows."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def show(self, event: Any, signals: Signals) -> Ended | None:
        signals.training = True
        self.calls.append(event)
        return event if isinstance(event, Ended) else None

    def failed(self, error: Exception) -> None:
        self.calls.append("failed")

    def close(self) -> None:
        self.calls.append("close")

    def print_result(self, finished: Ended) -> None:
        self.calls.append("result")


def training(*events: Any, closed: list[str] | None = None) -> Any:
    try:
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event
    finally:
        if closed is not None:
            closed.append("closed")


@pytest.fixture
def signals() -> Iterator[Signals]:
    signals = Signals()
    yield signals
    assert not signals.training, "a signal would wait for a training run that has ended"


def test_last_event_is_returned_and_the_run_is_closed(signals: Signals) -> None:
    view, closed, last = Recorder(), [], Ended("finished")
    assert follow(training("epoch", last, "ignored", closed=closed), view, signals) is last
    assert view.calls == ["epoch", last, "close"]
    assert closed == ["closed"]


def test_view_is_closed_before_failed_is_called(signals: Signals) -> None:
    view = Recorder()
    error = ResourceError(Problem("memory", "enough", "none", "free some"))
    with pytest.raises(ResourceError):
        follow(training("epoch", error), view, signals)
    assert view.calls[:3] == ["epoch", "close", "failed"]


def test_bugs_are_raised_unchanged(signals: Signals) -> None:
    view = Recorder()
    with pytest.raises(ZeroDivisionError):
        follow(training(ZeroDivisionError()), view, signals)
    assert view.calls == ["close"]


@pytest.mark.parametrize(("status", "code"), [("finished", 0), ("stopped", 130)])
def test_exit_code_follows_from_the_status(signals: Signals, status: Any, code: int) -> None:
    view = Recorder()
    assert show_training(training(Ended(status)), view, signals) == code
    assert view.calls[-1] == "result"
