"""Signals, kills, and two processes in one directory."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.workflows import fit
from trainer_cli.following import Signals, Stopped


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [(signal.SIGINT, 130, "stopped by Ctrl-C"), (signal.SIGTERM, 75, "stopped by SIGTERM")],
)
def test_signal_ends_training_after_the_epoch(
    number: int, code: int, reason: str, folder: Path, trainer: Callable, after_epoch: Callable
) -> None:
    after_epoch(3, lambda: os.kill(os.getpid(), number))
    stopped = trainer("fit", "good.yaml", "fit.epochs=12", "--json")
    assert stopped.code == code
    output = stopped.json
    assert (output["status"], output["stopped_because"]) == ("stopped", reason)
    assert output["epochs"] == 4
    assert "Traceback" not in stopped.err
    run = Path(output["run"])
    for checkpoint in ("last", "best"):
        kept = json.loads((run / "checkpoints" / checkpoint / "checkpoint.json").read_text())
        assert kept["epoch"] == (output["epochs"] if checkpoint == "last" else output["best_epoch"])
    assert len((run / "metrics.jsonl").read_text().splitlines()) == output["epochs"]
    assert not (run / "lock").exists()
    (listed,) = map(json.loads, trainer("ls", "--json").out.splitlines())
    assert (listed["status"], listed["epochs"]) == ("stopped", output["epochs"])


def test_signal_before_training_leaves_nothing(
    folder: Path, trainer: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        fit, fit.plan_run.__name__, lambda *given: os.kill(os.getpid(), signal.SIGTERM)
    )
    stopped = trainer("fit", "good.yaml")
    assert (stopped.code, stopped.out) == (75, "")
    assert stopped.err.splitlines()[1:] == ["error: stopped by SIGTERM"]
    assert not (folder / "runs").exists()


@pytest.mark.slow
def test_killed_run_is_dead_and_usable(start: Callable, trainer: Callable, folder: Path) -> None:
    training = start("fit", "good.yaml", "fit.epochs=1000000", "fit.checkpoint.every=1 epoch")
    run = training.wait_for_file("good/*/checkpoints/best/checkpoint.json").parents[2]
    code, _, _ = training.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    (listed,) = map(json.loads, trainer("ls", "--json").out.splitlines())
    assert listed["status"] == "dead"
    assert listed["epochs"] > 0
    assert "dead" in trainer("show", run).out
    assert trainer("eval", run, "--split", "test").code == 0
    assert trainer("predict", run, "table.csv", "-o", "out.csv").code == 0
    assert len((folder / "out.csv").read_text().splitlines()) == 61


@pytest.mark.slow
def test_two_simultaneous_runs_share_a_directory(start: Callable, trainer: Callable) -> None:
    both = [start("fit", "good.yaml", "--quiet") for _ in range(2)]
    ended = [process.end() for process in both]
    assert [code for code, _, _ in ended] == [0, 0]
    assert len({out for _, out, _ in ended}) == 2
    listed = [json.loads(line) for line in trainer("ls", "--json").out.splitlines()]
    assert [run["status"] for run in listed] == ["finished", "finished"]
    assert len({run["weights_sha256"] for run in listed}) == 1


def test_library_error_caused_by_a_signal_is_reported_as_the_signal() -> None:
    signals = Signals()

    def library() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise ValueError("cannot build this") from None

    with pytest.raises(Stopped), signals.caught():
        library()
    assert signals.exit_code == 75


def test_other_errors_are_raised_unchanged() -> None:
    signals = Signals()
    with pytest.raises(ValueError, match="cannot"), signals.caught():
        raise ValueError("cannot build this")
