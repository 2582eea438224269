"""Trainings that are stopped, killed, or share a folder: real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer_cli.fit_output import Signals, Stopped

LONG = ("fit", "good.yaml", "fit.epochs=1000000", "fit.checkpoint.every=1 seconds")


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [(signal.SIGINT, 130, "stopped by Ctrl-C"), (signal.SIGTERM, 75, "stopped by SIGTERM")],
)
def test_a_signal_ends_training_with_its_epoch(
    number: int, code: int, reason: str, start: Callable, trainer: Callable
) -> None:
    training = start(*LONG, "--json")
    run = training.wait_for("good/*/metrics.jsonl").parent
    ended, out, err = training.end(number)
    assert ended == code
    facts = json.loads(out)
    assert (facts["status"], facts["stopped_because"]) == ("stopped", reason)
    assert facts["run"] == str(run)
    assert "Traceback" not in err
    for checkpoint in ("last", "best"):
        kept = json.loads((run / "checkpoints" / checkpoint / "checkpoint.json").read_text())
        assert kept["epoch"] == (facts["epochs"] if checkpoint == "last" else facts["best_epoch"])
    assert len((run / "metrics.jsonl").read_text().splitlines()) == facts["epochs"]
    assert not (run / "lock").exists()
    (listed,) = map(json.loads, trainer("ls", "--json").out.splitlines())
    assert (listed["status"], listed["epochs"]) == ("stopped", facts["epochs"])


def test_a_signal_before_training_leaves_nothing(start: Callable, folder: Path) -> None:
    with (folder / "table.csv").open("a") as table:
        table.writelines(f"{row % 41},{row % 977},A,yes\n" for row in range(1_000_000))
    reading = start("fit", "good.yaml", "fit.batch_size=1024")
    time.sleep(1.5)
    code, out, err = reading.end(signal.SIGTERM)
    assert code in (75, -signal.SIGTERM)  # the latter before the command has begun to listen
    assert out == ""
    assert err.splitlines()[1:] in (["error: stopped by SIGTERM"], [])
    assert not (folder / "runs").exists()


def test_a_killed_training_is_dead_and_can_be_asked(
    start: Callable, trainer: Callable, folder: Path
) -> None:
    training = start(*LONG)
    run = training.wait_for("good/*/checkpoints/best/checkpoint.json").parents[2]
    code, _, _ = training.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    (listed,) = map(json.loads, trainer("ls", "--json").out.splitlines())
    assert listed["status"] == "dead"
    assert listed["epochs"] > 0
    assert "dead" in trainer("show", run).out
    assert trainer("eval", run, "--split", "test").code == 0
    assert trainer("predict", run, "table.csv", "-o", "out.csv").code == 0
    assert len((folder / "out.csv").read_text().splitlines()) == 61


def test_two_trainings_at_once_share_a_folder(start: Callable, trainer: Callable) -> None:
    both = [start("fit", "good.yaml", "--quiet") for _ in range(2)]
    ended = [one.end() for one in both]
    assert [code for code, _, _ in ended] == [0, 0]
    assert len({out for _, out, _ in ended}) == 2
    listed = [json.loads(line) for line in trainer("ls", "--json").out.splitlines()]
    assert [run["status"] for run in listed] == ["finished", "finished"]
    assert len({run["weights_sha256"] for run in listed}) == 1


def test_an_error_that_a_library_makes_of_a_signal_is_that_signal() -> None:
    signals = Signals()

    def library() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise ValueError("cannot build this") from None

    with pytest.raises(Stopped), signals.caught():
        library()
    assert signals.exit_code == 75


def test_other_errors_stay_what_they_are() -> None:
    signals = Signals()
    with pytest.raises(ValueError, match="cannot"), signals.caught():
        raise ValueError("cannot build this")
