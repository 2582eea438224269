"""No piece of a training's state can be spared: without any one of them a resumed run ends otherwise.

The proof in tests/kill compares bytes; here that comparison is seen to find each loss.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kill.comparison import differences
from tests.workflows.conftest import write_table
from trainer.config.load import load_config
from trainer.engine import snapshot
from trainer.engine.events import EpochEnd
from trainer.engine.fit import Training
from trainer.engine.snapshot import Snapshot
from trainer.workflows import resume
from trainer.workflows.fit import fit_run
from trainer.workflows.training import RunFinished

CONFIG = """\
name: small
seed: 3
data: {source: small.csv, target: label, features: {exclude: [id]}}
model:
  layers:
    - dense: {units: 8, activation: relu}
    - batch_normalization
    - dropout: 0.2
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
Lossy = Callable[[Snapshot, Snapshot], Snapshot]
"""A snapshot that lacks a piece, from it and from one of a training that has not begun."""


def arrays(pattern: str) -> Lossy:
    """These arrays are as in a training that has not begun, or 0 where it has none."""

    def lose(whole: Snapshot, fresh: Snapshot) -> Snapshot:
        lost = [name for name in whole.arrays if re.search(pattern, name)]
        assert lost, list(whole.arrays)
        new = {
            name: fresh.arrays[name] if name in fresh.arrays else np.zeros_like(whole.arrays[name])
            for name in lost
        }
        return replace(whole, arrays={**whole.arrays, **new})

    return lose


def decision(name: str) -> Lossy:
    """A decision begins anew."""

    def lose(whole: Snapshot, fresh: Snapshot) -> Snapshot:
        monitors = {**whole.metadata["monitors"], name: fresh.metadata["monitors"][name]}
        assert monitors != whole.metadata["monitors"]
        return replace(whole, metadata={**whole.metadata, "monitors": monitors})

    return lose


def counter(name: str) -> Lossy:
    """A decision knows what to improve on, and not for how long it has waited."""

    def lose(whole: Snapshot, fresh: Snapshot) -> Snapshot:
        state = whole.metadata["monitors"][name]
        assert state["waited"] > 0
        monitors = {**whole.metadata["monitors"], name: {**state, "waited": 0}}
        return replace(whole, metadata={**whole.metadata, "monitors": monitors})

    return lose


def facts(*names: str) -> Lossy:
    """These facts are those of a training that has not begun."""

    def lose(whole: Snapshot, fresh: Snapshot) -> Snapshot:
        assert all(whole.metadata[name] != fresh.metadata[name] for name in names)
        return replace(
            whole, metadata={**whole.metadata, **{name: fresh.metadata[name] for name in names}}
        )

    return lose


def nothing(whole: Snapshot, fresh: Snapshot) -> Snapshot:
    return whole


PIECES: dict[str, tuple[str, Lossy]] = {
    "weights": (AVERAGED, arrays(r"^network/.*/(kernel|bias|gamma|beta)$")),
    "batch-norm statistics": (AVERAGED, arrays(r"/moving_(mean|variance)$")),
    "seed generators": (AVERAGED, arrays(r"/seed_generator_state$")),
    "optimizer slots": (AVERAGED, arrays(r"_(momentum|velocity)$")),
    "iterations": (AVERAGED, arrays(r"^optimizer/.*/iterations?$")),
    "averages": (AVERAGED, arrays(r"_average$")),
    "early stopping's counter": (AVERAGED, counter("stopper")),
    "best so far": (AVERAGED, decision("best")),
    "best weights": (AVERAGED, arrays(r"^best/")),
    "epoch": (AVERAGED, facts("epoch")),
    "step": (AVERAGED, facts("step")),
    "partial epoch": (AVERAGED, facts("steps_begun")),
    "partial epoch's predictions": (AVERAGED, arrays(r"^begun/predictions$")),
    "mean of the loss": (AVERAGED, arrays(r"^begun/mean/")),
    "learning rate": (PLATEAU, arrays(r"/learning_rate$")),
    "plateau's counter": (PLATEAU, counter("plateau")),
}


def train(config: Path, runs: Path, last: int | None) -> Path:
    """The directory of a run, which is stopped within the epoch after `last`."""
    reasons: list[str] = []
    event: object = None
    for event in fit_run(
        load_config(config, ()),
        runs=runs,
        command=("trainer", "fit", str(config)),
        allow_custom=False,
        interrupted=lambda: next(iter(reasons), None),
    ):
        if isinstance(event, EpochEnd) and event.epoch == last:
            reasons.append("stopped by a test")
    assert isinstance(event, RunFinished)
    assert event.status == ("finished" if last is None else "stopped")
    return event.run


def go_on(run: Path) -> None:
    events = list(
        resume.resume_run(
            run,
            (),
            command=("trainer", "resume", str(run)),
            accept_differences=False,
            allow_custom=False,
            interrupted=lambda: None,
        )
    )
    assert isinstance(events[-1], RunFinished)


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]


def telling_epoch(text: str, run: Path) -> int:
    """An epoch that was no better than one before, after which every piece of the state tells."""
    told = lines(run)
    losses = [line["val_loss"] for line in told]
    rates = [line["learning_rate"] for line in told]
    for epoch in range(2, len(told) - 1):
        best = min(losses[:epoch])
        if text == AVERAGED:
            tells = best == min(losses)
        else:
            tells = rates[0] > rates[epoch - 2] == rates[epoch - 1]
        if tells and losses[epoch - 1] > best:
            return epoch
    raise AssertionError(f"no epoch tells of every piece: {losses}, {rates}")


@pytest.fixture(scope="module")
def short_calls():
    with pytest.MonkeyPatch.context() as patch:
        # An epoch of nine steps is several calls of the device.
        patch.setattr("trainer.engine.batches._CALL_SECONDS", 0.00025)
        yield


@pytest.fixture(scope="module")
def pairs(short_calls, tmp_path_factory):
    """A run, and the same stopped on its way, by what its config says of training."""
    made = {}
    for text in (AVERAGED, PLATEAU):
        folder = tmp_path_factory.mktemp("pieces")
        write_table(folder / "small.csv")
        config = folder / "config.yaml"
        config.write_text(CONFIG + text, encoding="utf-8")
        whole = train(config, folder / "whole", None)
        made[text] = (whole, train(config, folder / "stopped", telling_epoch(text, whole)))
    return made


@pytest.fixture
def resumed(pairs, tmp_path, monkeypatch):
    """How a run differs that was resumed without a piece."""

    def call(text: str, lossy: Lossy, change: Callable[[Path], None] = lambda run: None):
        def restore_snapshot(training: Training, whole: Snapshot) -> None:
            assert whole.metadata["steps_begun"] > 0
            restore(training, lossy(whole, snapshot.take_snapshot(training)))

        restore = snapshot.restore_snapshot
        monkeypatch.setattr(snapshot, "restore_snapshot", restore_snapshot)
        undisturbed, stopped = pairs[text]
        run = tmp_path / stopped.name
        shutil.copytree(stopped, run)
        change(run)
        go_on(run)
        return differences(run, undisturbed)

    return call


@pytest.mark.parametrize("text", [AVERAGED, PLATEAU], ids=["averaged", "plateau"])
def test_with_every_piece_it_ends_the_same(text, resumed) -> None:
    assert resumed(text, nothing) == []


@pytest.mark.parametrize("piece", PIECES)
def test_without_a_piece_it_ends_otherwise(piece, resumed) -> None:
    assert resumed(*PIECES[piece])


def with_a_line_more(run: Path) -> None:
    """As a process leaves it that is killed after an epoch which no checkpoint was written of."""
    told = lines(run)
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({**told[-1], "epoch": told[-1]["epoch"] + 1}) + "\n")


def test_what_the_log_has_too_much_is_cut_off(resumed) -> None:
    assert resumed(AVERAGED, nothing, with_a_line_more) == []


def test_without_the_logs_offset_it_has_a_line_too_much(resumed, monkeypatch) -> None:
    monkeypatch.setattr(resume, "truncate_log", lambda *_: None)
    told = resumed(AVERAGED, nothing, with_a_line_more)
    assert any(one.startswith("metrics.jsonl: ") for one in told)
