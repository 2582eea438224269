"""Damaged checkpoints are passed over; losses that are not finite end a run or send it back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.stopped import SETTINGS, edit_manifest, log_of, manifest_of, runs_there_are, stop
from tests.kill.comparison import compared
from trainer.runs.checkpoints import read_checkpoint


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.keras", "state.npz", "checkpoint.json"])
def test_a_damaged_checkpoint_is_passed_over_and_said(
    name: str, folder: Path, trainer: Callable, undisturbed: Callable
) -> None:
    run = stop("good.yaml", "fit.checkpoint.every=1 epochs")
    checkpoints = run / "checkpoints"
    assert read_checkpoint(checkpoints / "last").facts["epoch"] == 3
    former = read_checkpoint(checkpoints / "last-1").facts["epoch"]
    assert former < 3
    flip(checkpoints / "last" / name)
    answer = trainer("resume", run)
    assert answer.code == 0, answer.err
    assert f"checkpoints/last/{name}" in answer.err
    assert "last-1 is used" in answer.err
    assert f"goes on after epoch {former}" in answer.err
    assert compared(run) == compared(undisturbed("fit.checkpoint.every=1 epochs"))
    manifest = manifest_of(run)
    assert manifest["resumptions"][0]["checkpoint"] == "last-1"
    assert any(f"last/{name}" in warning for warning in manifest["warnings"])


def test_a_missing_last_is_passed_over(
    folder: Path, trainer: Callable, undisturbed: Callable
) -> None:
    run = stop("good.yaml")
    shutil.rmtree(run / "checkpoints" / "last")
    answer = trainer("resume", run)
    assert answer.code == 0, answer.err
    assert "last-1 is used" in answer.err
    assert compared(run) == compared(undisturbed())
    # A scheduler finds it as well.
    shutil.rmtree(run / "checkpoints" / "last")
    edit_manifest(run, status="stopped")
    words = ("fit", "good.yaml", *SETTINGS, "--resume-or-start", "--quiet")
    assert trainer(*words).out == f"{run}\n"


def test_when_all_are_damaged_each_is_named(folder: Path, refused: Callable) -> None:
    run = stop("good.yaml")
    flip(run / "checkpoints" / "last" / "state.npz")
    flip(run / "checkpoints" / "last-1" / "model.keras")
    before = compared(run)
    says = ["checkpoints/last/state.npz", "checkpoints/last-1/model.keras"]
    refused("resume", run, says=says, kind="run")
    assert compared(run) == before


def test_a_log_that_lacks_what_the_checkpoint_knows_is_refused(
    folder: Path, refused: Callable
) -> None:
    run = stop("good.yaml")
    (run / "metrics.jsonl").write_text("".join(f"{line}\n" for line in log_of(run)[:-1]))
    before = compared(run)
    refused("resume", run, says=["metrics.jsonl"], kind="run")
    assert compared(run) == before


# Losses that are not finite.

WILD = (
    "optimizer={name: sgd, learning_rate: 1e32}",
    "model.layers=[]",
    "data.target=income",
    "data.task=regression",
    "fit.epochs=3",
)
"""Weights of 1e32 after the first step, whose loss is beyond float32 at the second."""


def test_a_diverged_run_keeps_what_was_good(folder: Path, trainer: Callable) -> None:
    answer = trainer("fit", "good.yaml", *SETTINGS, *WILD)
    assert answer.code == 3, answer
    assert "expected a finite loss" in answer.err
    assert "epoch " in answer.err
    assert "step " in answer.err
    assert "the first weights that are not finite: network/head/kernel" in answer.err
    (run,) = runs_there_are()
    assert manifest_of(run)["status"] == "failed"
    assert read_checkpoint(run / "checkpoints" / "last").facts["epoch"] == 0
    # It can be tried from there with another learning rate, which is recorded.
    answer = trainer("resume", run, "optimizer.learning_rate=1e-6", "--accept-differences")
    assert answer.code == 0, answer.err
    assert len(log_of(run)) == 3


def test_it_goes_back_with_half_the_learning_rate(folder: Path, trainer: Callable) -> None:
    rewind = "fit.on_nonfinite={action: rollback, max_rollbacks: 4, factor: 1e-17}"
    answer = trainer("fit", "good.yaml", *SETTINGS, *WILD, rewind)
    assert answer.code == 0, answer.err
    (run,) = runs_there_are()
    # With 1e15 the weights of the second step are too large; with 0.01 all is well.
    assert manifest_of(run)["rewinds"] == [
        {"epoch": 1, "step": 2, "learning_rate": pytest.approx(1e15)},
        {"epoch": 1, "step": 3, "learning_rate": pytest.approx(1e-2)},
    ]
    assert answer.err.count("the loss is not finite; epoch 1 is begun anew") == 2
    log = [json.loads(line) for line in log_of(run)]
    assert [line["epoch"] for line in log] == [1, 2, 3]
    assert log[-1]["learning_rate"] == pytest.approx(1e-2)
    assert log[-1]["loss"] < 10


def test_it_goes_back_so_many_times_only(folder: Path, trainer: Callable) -> None:
    answer = trainer("fit", "good.yaml", *SETTINGS, *WILD, "fit.on_nonfinite=rollback")
    assert answer.code == 3, answer
    assert "after going back 3 times" in answer.err
    assert "epoch 1, step 2: expected a finite loss" in answer.err
    (run,) = runs_there_are()
    assert len(manifest_of(run)["rewinds"]) == 3
    assert read_checkpoint(run / "checkpoints" / "last").facts["epoch"] == 0
