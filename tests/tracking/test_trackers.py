from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.tracking.conftest import config
from trainer.errors import Problem
from trainer.packages import install_command
from trainer.tracking import trackers as module
from trainer.tracking.trackers import (
    Trackers,
    make_trackers,
    tracker_locations,
    tracking_problems,
    warn_once,
)

MOMENTS = ("started", "epoch", "finished", "close")


class Told:
    """Counts what it is told; raises at one moment."""

    def __init__(self, raises_at: str = "", error: BaseException | None = None) -> None:
        self.raises_at, self.error = raises_at, error or OSError(28, "No space left on device")
        self.calls: list[str] = []
        self.last: Any = None

    def wants_weights(self, epoch: int) -> bool:
        return epoch == 2

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*told: Any) -> None:
            self.calls.append(name)
            self.last = told or self.last
            if name == self.raises_at and self.calls.count(name) == 1:
                raise self.error

        return call


def through(all_of_them: Trackers, start: Any) -> None:
    all_of_them.started(start.run, start.config, start.manifest)
    for number in (1, 2):
        all_of_them.epoch(number, 0.1, {"loss": 1.0}, lambda: {"w": np.ones(1)})
    all_of_them.finished(start.run, start.manifest)


@pytest.mark.parametrize("moment", MOMENTS)
def test_one_that_fails_is_told_of_once_and_the_other_goes_on(
    start: Callable, caplog: pytest.LogCaptureFixture, moment: str
) -> None:
    bad, good = Told(moment), Told()
    both = Trackers({"Bad": bad, "Good": good})
    with caplog.at_level(logging.WARNING, "trainer"):
        through(both, start())
    (text,) = both.warnings
    assert text == (
        "Bad is disabled for the rest of this run: OSError: [Errno 28] No space left on device"
    )
    assert [record.getMessage() for record in caplog.records] == [text]
    assert good.calls == ["started", "epoch", "epoch", "finished", "close"]
    assert bad.calls[-2:] == [moment, "close"]
    assert bad.calls.count(moment) == (2 if moment == "close" else 1)


def test_a_process_of_many_networks_says_a_text_once(
    start: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    before = list(module._LOG.filters)
    warn_once()
    try:
        with caplog.at_level(logging.WARNING, "trainer"):
            for error in (OSError(1, "one"), OSError(1, "one"), OSError(2, "two")):
                through(Trackers({"Bad": Told("epoch", error)}), start())
    finally:
        module._LOG.filters[:] = before
    assert [record.getMessage()[-3:] for record in caplog.records] == ["one", "two"]


def test_weights_come_where_they_are_wanted(start: Callable) -> None:
    one = Told()
    all_of_them = Trackers({"One": one})
    for number, wanted in ((1, False), (2, True), (3, False)):
        asked = []
        all_of_them.epoch(number, 0.1, {}, lambda asked=asked: asked.append(1) or {"w": np.ones(1)})
        assert bool(asked) is wanted
        assert (one.last[0].weights is not None) is wanted


def test_an_error_of_the_networks_is_none_of_the_trackers(start: Callable) -> None:
    def broken() -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        Trackers({"One": Told()}).epoch(2, 0.1, {}, broken)
    Trackers({}).epoch(2, 0.1, {}, broken)


def test_ctrl_c_ends_the_waiting_alone(start: Callable) -> None:
    all_of_them = Trackers({"One": Told("close", KeyboardInterrupt())})
    through(all_of_them, start())
    assert "stopped by Ctrl-C" in all_of_them.warnings[0]
    assert not all_of_them


def test_the_end_says_what_the_evaluations_say(start: Callable) -> None:
    begun = start()
    metrics = {"auc": 0.5, "f1": None}
    begun.run.write_evaluation("test", {"split": "test", "metrics": metrics})
    one = Told()
    through(Trackers({"One": one}), begun)
    end = one.last[0]
    assert end.metrics == {"test_auc": 0.5}
    assert end.status == "stopped"


def test_what_a_config_asks_for() -> None:
    assert not make_trackers(config())
    assert tracker_locations(config()) == {}
    assert not make_trackers(config("track: {tensorboard: false}"))
    both = config(
        "track: {tensorboard: {histograms: 5 epochs}, mlflow: {uri: 'http://me:secret@host:1'}}\n"
        "name: wine"
    )
    assert tracker_locations(both) == {
        "TensorBoard": "the run's folder tensorboard, histograms every 5 epochs",
        "MLflow": "http://…@host:1, experiment wine",
    }


@pytest.mark.parametrize(
    ("text", "absent", "found"),
    [
        ("tensorboard: true", "tensorboard", ["track.tensorboard"]),
        ("mlflow: {uri: 'sqlite:///a.db'}", "alembic", ["track.mlflow"]),
        ("mlflow: {uri: 'http://host'}", "alembic", []),
        ("mlflow: {uri: 'http://host'}", "mlflow", ["track.mlflow"]),
        ("tensorboard: true", "mlflow", []),
    ],
)
def test_a_package_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, text: str, absent: str, found: list[str]
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == absent else name)
    problems = list(tracking_problems(config(f"track: {{{text}}}")))
    assert [problem.key for problem in problems] == found
    for problem in problems:
        assert isinstance(problem, Problem)
        assert install_command(problem.key.removeprefix("track.")) in problem.fix
        assert absent in problem.expected
