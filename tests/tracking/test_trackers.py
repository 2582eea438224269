from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.tracking.conftest import config
from trainer.errors import Problem
from trainer.packages import install_command
from trainer.tracking import trackers as trackers_module
from trainer.tracking.trackers import (
    Trackers,
    make_trackers,
    tracker_locations,
    tracking_problems,
    warn_once,
)

METHODS = ("on_run_start", "on_epoch_end", "on_run_end", "close")


class FakeTracker:
    """Records its calls; raises in one method."""

    def __init__(self, raises_at: str = "", error: BaseException | None = None) -> None:
        self.raises_at, self.error = raises_at, error or OSError(28, "No space left on device")
        self.calls: list[str] = []
        self.last: Any = None

    def wants_weights(self, epoch: int) -> bool:
        return epoch == 2

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            self.calls.append(name)
            self.last = arguments or self.last
            if name == self.raises_at and self.calls.count(name) == 1:
                raise self.error

        return call


def run_trackers(trackers: Trackers, start: Any) -> None:
    trackers.on_run_start(start.run, start.config, start.manifest)
    for number in (1, 2):
        trackers.on_epoch_end(number, 0.1, {"loss": 1.0}, lambda: {"w": np.ones(1)})
    trackers.on_run_end(start.run, start.manifest)


@pytest.mark.parametrize("method", METHODS)
def test_failing_tracker_is_disabled_and_the_other_continues(
    start: Callable, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    bad, good = FakeTracker(method), FakeTracker()
    both = Trackers({"Bad": bad, "Good": good})
    with caplog.at_level(logging.WARNING, "trainer"):
        run_trackers(both, start())
    (text,) = both.warnings
    assert text == (
        "Bad is disabled for the rest of this run: OSError: [Errno 28] No space left on device"
    )
    assert [record.getMessage() for record in caplog.records] == [text]
    assert good.calls == ["on_run_start", "on_epoch_end", "on_epoch_end", "on_run_end", "close"]
    assert bad.calls[-2:] == [method, "close"]
    assert bad.calls.count(method) == (2 if method == "close" else 1)


def test_warn_once_logs_each_warning_once(
    start: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    before = list(trackers_module._LOG.filters)
    warn_once()
    try:
        with caplog.at_level(logging.WARNING, "trainer"):
            for error in (OSError(1, "one"), OSError(1, "one"), OSError(2, "two")):
                run_trackers(Trackers({"Bad": FakeTracker("on_epoch_end", error)}), start())
    finally:
        trackers_module._LOG.filters[:] = before
    assert [record.getMessage()[-3:] for record in caplog.records] == ["one", "two"]


def test_weights_are_computed_only_on_request(start: Callable) -> None:
    fake = FakeTracker()
    trackers = Trackers({"One": fake})
    for number, wanted in ((1, False), (2, True), (3, False)):
        calls = []
        trackers.on_epoch_end(
            number, 0.1, {}, lambda calls=calls: calls.append(1) or {"w": np.ones(1)}
        )
        assert bool(calls) is wanted
        assert (fake.last[0].weights is not None) is wanted


def test_error_in_computing_weights_propagates(start: Callable) -> None:
    def broken() -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        Trackers({"One": FakeTracker()}).on_epoch_end(2, 0.1, {}, broken)
    Trackers({}).on_epoch_end(2, 0.1, {}, broken)


def test_ctrl_c_only_ends_the_waiting(start: Callable) -> None:
    trackers = Trackers({"One": FakeTracker("close", KeyboardInterrupt())})
    run_trackers(trackers, start())
    assert "stopped by Ctrl-C" in trackers.warnings[0]
    assert not trackers


def test_run_end_has_the_metrics_of_the_evaluations(start: Callable) -> None:
    started = start()
    metrics = {"auc": 0.5, "f1": None}
    started.run.write_evaluation("test", {"split": "test", "metrics": metrics})
    fake = FakeTracker()
    run_trackers(Trackers({"One": fake}), started)
    end = fake.last[0]
    assert end.metrics == {"test_auc": 0.5}
    assert end.status == "stopped"


def test_trackers_of_a_config() -> None:
    assert not make_trackers(config())
    assert tracker_locations(config()) == {}
    assert not make_trackers(config("track: {tensorboard: false}"))
    both = config(
        "track: {tensorboard: {histograms: 5 epochs}, mlflow: {uri: 'http://me:secret@host:1'}}\n"
        "name: wine"
    )
    assert tracker_locations(both) == {
        "TensorBoard": "tensorboard/ in the run directory, histograms every 5 epochs",
        "MLflow": "http://…@host:1, experiment wine",
    }


@pytest.mark.parametrize(
    ("text", "absent", "keys"),
    [
        ("tensorboard: true", "tensorboard", ["track.tensorboard"]),
        ("mlflow: {uri: 'sqlite:///a.db'}", "alembic", ["track.mlflow"]),
        ("mlflow: {uri: 'http://host'}", "alembic", []),
        ("mlflow: {uri: 'http://host'}", "mlflow", ["track.mlflow"]),
        ("tensorboard: true", "mlflow", []),
    ],
)
def test_missing_package(
    monkeypatch: pytest.MonkeyPatch, text: str, absent: str, keys: list[str]
) -> None:
    monkeypatch.setattr(trackers_module, "find_spec", lambda name: None if name == absent else name)
    problems = list(tracking_problems(config(f"track: {{{text}}}")))
    assert [problem.key for problem in problems] == keys
    for problem in problems:
        assert isinstance(problem, Problem)
        assert install_command(problem.key.removeprefix("track.")) in problem.fix
        assert absent in problem.expected
