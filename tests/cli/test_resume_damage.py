"""Damaged checkpoints are skipped; a loss that is not finite ends a run or rolls it back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.runs import SETTINGS, log_lines, read_manifest, run_directories
from tests.kill.comparison import comparable_files
from tests.marks import slow_except
from trainer.engine import checkpoint_schedule
from trainer.runs.checkpoints import read_checkpoint


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name", slow_except(["state.npz"], ["model.keras", "state.npz", "checkpoint.json"])
)
def test_damaged_checkpoint_is_skipped(
    name: str,
    folder: Path,
    trainer: Callable,
    stopped_run: Callable,
    whole_run: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        checkpoint_schedule, "MAX_WRITING_FRACTION", 1e9
    )  # a checkpoint after each epoch
    each_epoch = "fit.checkpoint.every=1 epochs"
    run = stopped_run("good.yaml", each_epoch)
    checkpoints = run / "checkpoints"
    assert read_checkpoint(checkpoints / "last").metadata["epoch"] == 3
    assert read_checkpoint(checkpoints / "last-1").metadata["epoch"] == 2
    flip_a_bit(checkpoints / "last" / name)
    result = trainer("resume", run)
    assert result.code == 0, result.err
    assert f"checkpoints/last/{name}" in result.err
    assert "last-1 is used" in result.err
    assert "resumes after epoch 2" in result.err
    assert comparable_files(run) == comparable_files(whole_run(each_epoch))
    manifest = read_manifest(run)
    assert manifest["resumptions"][0]["checkpoint"] == "last-1"
    assert any(f"last/{name}" in warning for warning in manifest["warnings"])


def test_missing_last_checkpoint_is_skipped(
    folder: Path, trainer: Callable, stopped_run: Callable, whole_run: Callable
) -> None:
    run = stopped_run("good.yaml")
    shutil.rmtree(run / "checkpoints" / "last")
    result = trainer("resume", run)
    assert result.code == 0, result.err
    assert "last-1 is used" in result.err
    assert comparable_files(run) == comparable_files(whole_run())


def test_each_damaged_checkpoint_is_named(
    folder: Path, stopped_run: Callable, refused: Callable
) -> None:
    run = stopped_run("good.yaml")
    flip_a_bit(run / "checkpoints" / "last" / "state.npz")
    flip_a_bit(run / "checkpoints" / "last-1" / "model.keras")
    before = comparable_files(run)
    mentions = ["checkpoints/last/state.npz", "checkpoints/last-1/model.keras"]
    refused("resume", run, mentions=mentions, kind="run")
    assert comparable_files(run) == before


def test_log_shorter_than_the_checkpoint_is_refused(
    folder: Path, stopped_run: Callable, refused: Callable
) -> None:
    run = stopped_run("good.yaml")
    (run / "metrics.jsonl").write_text("".join(f"{line}\n" for line in log_lines(run)[:-1]))
    before = comparable_files(run)
    refused("resume", run, mentions=["metrics.jsonl"], kind="run")
    assert comparable_files(run) == before


# Losses that are not finite.

DIVERGING = (
    "optimizer={name: sgd, learning_rate: 1e32}",
    "model.layers=[]",
    "data.target=income",
    "data.task=regression",
    "fit.epochs=3",
)
"""Weights of 1e32 after the first step; the loss of the second overflows float32."""


def test_diverged_run_keeps_its_last_finite_state(folder: Path, trainer: Callable) -> None:
    result = trainer("fit", "good.yaml", *SETTINGS, *DIVERGING)
    assert result.code == 3, result
    assert "expected a finite loss" in result.err
    assert "epoch " in result.err
    assert "step " in result.err
    assert "the first weights that are not finite: network/head/kernel" in result.err
    (run,) = run_directories()
    assert read_manifest(run)["status"] == "failed"
    assert read_checkpoint(run / "checkpoints" / "last").metadata["epoch"] == 0
    # It can be resumed with another learning rate, which is recorded.
    result = trainer("resume", run, "optimizer.learning_rate=1e-6", "--accept-differences")
    assert result.code == 0, result.err
    assert len(log_lines(run)) == 3


def test_rollback_with_a_lower_learning_rate(folder: Path, trainer: Callable) -> None:
    rollback = "fit.on_nonfinite={action: rollback, max_rollbacks: 4, factor: 1e-17}"
    result = trainer("fit", "good.yaml", *SETTINGS, *DIVERGING, rollback)
    assert result.code == 0, result.err
    (run,) = run_directories()
    # With 1e15 the weights of the second step are too large; 0.01 trains.
    assert read_manifest(run)["rollbacks"] == [
        {"epoch": 1, "step": 2, "learning_rate": pytest.approx(1e15)},
        {"epoch": 1, "step": 3, "learning_rate": pytest.approx(1e-2)},
    ]
    assert result.err.count("the loss is not finite; restarting epoch 1") == 2
    log = [json.loads(line) for line in log_lines(run)]
    assert [line["epoch"] for line in log] == [1, 2, 3]
    assert log[-1]["learning_rate"] == pytest.approx(1e-2)
    assert log[-1]["loss"] < 10


def test_limit_of_rollbacks(folder: Path, trainer: Callable) -> None:
    result = trainer("fit", "good.yaml", *SETTINGS, *DIVERGING, "fit.on_nonfinite=rollback")
    assert result.code == 3, result
    assert "after 3 rollbacks" in result.err
    assert "epoch 1, step 2: expected a finite loss" in result.err
    (run,) = run_directories()
    assert len(read_manifest(run)["rollbacks"]) == 3
    assert read_checkpoint(run / "checkpoints" / "last").metadata["epoch"] == 0
