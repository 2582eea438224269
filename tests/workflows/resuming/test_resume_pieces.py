"""Every part of the training state is needed: a run resumed without one of them differs.

The kill tests compare the bytes of run directories. These tests check that the comparison detects the
loss of each part.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kill.comparison import differences
from tests.workflows.conftest import resume_fit, write_table
from trainer.config.load import load_config
from trainer.engine.events import EpochEnd
from trainer.engine.snapshot import Snapshot
from trainer.engine.training_group import TrainingGroup
from trainer.workflows.events import RunFinished
from trainer.workflows.fit import fit_run
from trainer.workflows.resuming import resume
from trainer.workflows.session import Session

pytestmark = pytest.mark.slow  # tests/cli/test_resume.py has quick tests of resumed runs
CONFIG = """\
name: small
seed: 3
data: {source: small.csv, target: label, features: {exclude: [id]}}
model:
  layers:
    - dense: {units: 8, activation: relu}
    - batch_normalization
    - dropout: 0.2
evaluate: {report: false}
"""
AVERAGED = """\
optimizer: {name: adamw, learning_rate: 0.05, schedule: {cosine: {warmup: 2 epochs}}, ema: 0.6}
fit:
  epochs: 40
  batch_size: 8
  class_weight: balanced
  early_stopping: {monitor: val_loss, patience: 5}
"""
PLATEAU = """\
optimizer: {name: sgd, learning_rate: 0.5, momentum: 0.9}
fit:
  epochs: 20
  batch_size: 8
  reduce_on_plateau: {monitor: val_loss, patience: 3, factor: 0.5}
"""
Drop = Callable[[Snapshot, Snapshot], Snapshot]
"""Return a snapshot without a part, from a complete snapshot and one of a fresh training."""


def arrays(pattern: str) -> Drop:
    """Replace arrays with those of a new training run, or by zeros if it has none."""

    def drop(snapshot: Snapshot, fresh: Snapshot) -> Snapshot:
        dropped = [name for name in snapshot.arrays if re.search(pattern, name)]
        assert dropped, list(snapshot.arrays)
        new = {
            name: fresh.arrays[name]
            if name in fresh.arrays
            else np.zeros_like(snapshot.arrays[name])
            for name in dropped
        }
        return replace(snapshot, arrays={**snapshot.arrays, **new})

    return drop


def monitor(name: str) -> Drop:
    """Reset a monitor."""

    def drop(snapshot: Snapshot, fresh: Snapshot) -> Snapshot:
        monitors = {**snapshot.metadata["monitors"], name: fresh.metadata["monitors"][name]}
        assert monitors != snapshot.metadata["monitors"]
        return replace(snapshot, metadata={**snapshot.metadata, "monitors": monitors})

    return drop


def wait_counter(name: str) -> Drop:
    """Reset a monitor's number of epochs without improvement, but not its best value."""

    def drop(snapshot: Snapshot, fresh: Snapshot) -> Snapshot:
        state = snapshot.metadata["monitors"][name]
        assert state["waited"] > 0
        monitors = {**snapshot.metadata["monitors"], name: {**state, "waited": 0}}
        return replace(snapshot, metadata={**snapshot.metadata, "monitors": monitors})

    return drop


def metadata_fields(*names: str) -> Drop:
    """Replace metadata with that of a new training run."""

    def drop(snapshot: Snapshot, fresh: Snapshot) -> Snapshot:
        assert all(snapshot.metadata[name] != fresh.metadata[name] for name in names)
        return replace(
            snapshot,
            metadata={**snapshot.metadata, **{name: fresh.metadata[name] for name in names}},
        )

    return drop


def unchanged(snapshot: Snapshot, fresh: Snapshot) -> Snapshot:
    return snapshot


PARTS: dict[str, tuple[str, Drop]] = {
    "weights": (AVERAGED, arrays(r"^network/.*/(kernel|bias|gamma|beta)$")),
    "batch-norm statistics": (AVERAGED, arrays(r"/moving_(mean|variance)$")),
    "seed generators": (AVERAGED, arrays(r"/seed_generator_state$")),
    "optimizer slots": (AVERAGED, arrays(r"_(momentum|velocity)$")),
    "iterations": (AVERAGED, arrays(r"^optimizer/.*/iterations?$")),
    "averages": (AVERAGED, arrays(r"_average$")),
    "early stopping's counter": (AVERAGED, wait_counter("stopper")),
    "best so far": (AVERAGED, monitor("best")),
    "best weights": (AVERAGED, arrays(r"^best/")),
    "epoch": (AVERAGED, metadata_fields("epoch")),
    "step": (AVERAGED, metadata_fields("step")),
    "partial epoch": (AVERAGED, metadata_fields("steps_begun")),
    "partial epoch's predictions": (AVERAGED, arrays(r"^begun/predictions$")),
    "mean of the loss": (AVERAGED, arrays(r"^begun/mean/")),
    "learning rate": (PLATEAU, arrays(r"/learning_rate$")),
    "plateau's counter": (PLATEAU, wait_counter("plateau")),
}


def train_run(config: Path, runs: Path, last: int | None) -> Path:
    """Train a run and return its directory; interrupt it within the epoch after `last`."""
    reasons: list[str] = []
    event: object = None
    session = Session(
        ("trainer", "fit", str(config)), interrupted=lambda: next(iter(reasons), None)
    )
    for event in fit_run(load_config(config, ()), session, runs):
        if isinstance(event, EpochEnd) and event.epoch == last:
            reasons.append("stopped by a test")
    assert isinstance(event, RunFinished)
    assert event.status == ("finished" if last is None else "stopped")
    return event.run


def read_log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]


def revealing_epoch(text: str, run: Path) -> int:
    """Return an epoch that did not improve, after which every part of the state matters."""
    log = read_log(run)
    losses = [line["val_loss"] for line in log]
    rates = [line["learning_rate"] for line in log]
    for epoch in range(2, len(log) - 1):
        best = min(losses[:epoch])
        if text == AVERAGED:
            matters = best == min(losses)
        else:
            matters = rates[0] > rates[epoch - 2] == rates[epoch - 1]
        if matters and losses[epoch - 1] > best:
            return epoch
    raise AssertionError(f"no epoch reveals every part: {losses}, {rates}")


@pytest.fixture(scope="module")
def several_calls_per_epoch():
    with pytest.MonkeyPatch.context() as patch:
        # An epoch of nine steps takes several device calls.
        patch.setattr("trainer.engine.batches._CALL_SECONDS", 0.00025)
        yield


@pytest.fixture(scope="module")
def pairs(several_calls_per_epoch, tmp_path_factory):
    """Return an uninterrupted run of a config and an interrupted one, trained once."""

    @cache
    def train(text: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("parts")
        write_table(folder / "small.csv")
        config = folder / "config.yaml"
        config.write_text(CONFIG + text, encoding="utf-8")
        whole = train_run(config, folder / "whole", None)
        return whole, train_run(config, folder / "stopped", revealing_epoch(text, whole))

    return train


@pytest.fixture
def resumed(pairs, tmp_path, monkeypatch):
    """Resume the interrupted run without a part of the state; return how it differs."""

    def call(text: str, drop_part: Drop, change: Callable[[Path], None] = lambda run: None):
        def restore_part(group: TrainingGroup, snapshots: list[Snapshot]) -> None:
            (snapshot,) = snapshots
            assert snapshot.metadata["steps_begun"] > 0
            restore(group, [drop_part(snapshot, group.snapshot(0))])

        restore = TrainingGroup.restore
        monkeypatch.setattr(TrainingGroup, "restore", restore_part)
        uninterrupted, stopped = pairs(text)
        run = tmp_path / stopped.name
        shutil.copytree(stopped, run)
        change(run)
        resume_fit(run)
        return differences(run, uninterrupted)

    return call


@pytest.mark.parametrize("text", [AVERAGED, PLATEAU], ids=["averaged", "plateau"])
def test_resumed_run_is_exact(text, resumed) -> None:
    assert resumed(text, unchanged) == []


@pytest.mark.parametrize("part", PARTS)
def test_resumed_run_differs_without_one_part_of_the_state(part, resumed) -> None:
    assert resumed(*PARTS[part])


def append_line(run: Path) -> None:
    """Append an epoch to the log, as a process killed between an epoch and its checkpoint does."""
    lines = read_log(run)
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({**lines[-1], "epoch": lines[-1]["epoch"] + 1}) + "\n")


def test_lines_after_the_checkpoint_are_truncated(resumed) -> None:
    assert resumed(AVERAGED, unchanged, append_line) == []


def test_resumed_run_differs_without_truncating_the_log(resumed, monkeypatch) -> None:
    monkeypatch.setattr(resume, "truncate_log", lambda *_: None)
    found = resumed(AVERAGED, unchanged, append_line)
    assert any(difference.startswith("metrics.jsonl: ") for difference in found)
