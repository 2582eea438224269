"""`trainer resume` and `fit --resume-or-start`: which runs resume, and that the bytes are the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest

from tests.cli.runs import SETTINGS, log_lines, read_manifest, run_directories
from tests.kill.comparison import comparable_files
from trainer.engine import training_group
from trainer.runs.lock import RunLock

# State that is not trained, and a last batch that is smaller.
NORMALIZED = (
    "model.layers=[{dense: 4}, batch_normalization, {dropout: 0.2}]",
    "fit.batch_size=16",
)


@pytest.mark.parametrize(
    "settings", [(), pytest.param(NORMALIZED, marks=pytest.mark.slow)], ids=["", "normalized"]
)
def test_resumed_run_has_the_bytes_of_an_uninterrupted_run(
    settings: tuple[str, ...],
    folder: Path,
    trainer: Callable,
    stopped_run: Callable,
    whole_run: Callable,
) -> None:
    run = stopped_run("good.yaml", *settings)
    assert len(log_lines(run)) == 3
    assert not list((run / "evaluation").glob("*"))
    result = trainer("resume", run)
    assert result.code == 0, result.err
    assert result.out == f"{run}\n"
    assert "resumes after epoch 3, step 9, from checkpoint last" in result.err
    assert comparable_files(run) == comparable_files(whole_run(*settings))
    manifest = read_manifest(run)
    assert (manifest["status"], manifest["epochs"]) == ("finished", 6)
    assert manifest["stopped_because"] == "all epochs done"
    (resumption,) = manifest["resumptions"]
    assert (resumption["epoch"], resumption["step"], resumption["checkpoint"]) == (3, 9, "last")
    assert resumption["differences"] == []
    assert resumption["changes"] == {}


def test_json_of_resume_has_the_fields_of_fit(
    finished: Path, trainer: Callable, stopped_run: Callable
) -> None:
    command = ("fit", "good.yaml", *SETTINGS, "--runs", "whole", "--resume-or-start", "--json")
    uninterrupted = trainer(*command).json
    assert uninterrupted["run"] == str(finished)
    run = stopped_run("good.yaml")
    result = trainer("resume", run, "--json", "--quiet")
    assert [line for line in result.err.splitlines() if "12 validation rows" not in line] == []
    different = {"run": str(run), "seconds": result.json["seconds"]}
    assert result.json == {**uninterrupted, **different, "timings": result.json["timings"]}
    assert set(result.json["timings"]) == set(uninterrupted["timings"])


@pytest.mark.slow
def test_run_is_stopped_twice(
    folder: Path,
    trainer: Callable,
    stopped_run: Callable,
    whole_run: Callable,
    after_epoch: Callable,
) -> None:
    run = stopped_run("good.yaml")
    after_epoch(4, lambda: os.kill(os.getpid(), signal.SIGINT))
    result = trainer("resume", run, "--json")
    assert result.code == 130, result.err
    assert (result.json["status"], result.json["epochs"]) == ("stopped", 5)
    assert f"resume with: trainer resume {run}" in result.err
    assert trainer("resume", run, "--quiet").code == 0
    assert len(read_manifest(run)["resumptions"]) == 2
    assert comparable_files(run) == comparable_files(whole_run())


# Finished runs, and how they are extended.


def test_finished_run_is_refused(finished: Path, refused: Callable) -> None:
    before = comparable_files(finished)
    mentions = [
        "a finished run (all epochs done)",
        f"trainer resume {finished} fit.epochs=+20",
    ]
    refused("resume", finished, mentions=mentions, kind="run")
    refused("resume", finished, "fit.epochs=6", mentions=mentions, kind="run")
    refused("resume", finished, "fit.epochs=+0", mentions=mentions, kind="run")
    assert comparable_files(finished) == before


def test_extended_run_equals_a_run_with_as_many_epochs(
    finished: Path, trainer: Callable, whole_run: Callable
) -> None:
    first = log_lines(finished)
    result = trainer("resume", finished, "fit.epochs=+20")
    assert result.code == 0, result.err
    assert "epoch 26/26" in result.err
    assert log_lines(finished)[:6] == first
    assert len(log_lines(finished)) == 26
    # The files include the config, which repeats the longer training.
    assert comparable_files(finished) == comparable_files(whole_run("fit.epochs=26"))
    assert read_manifest(finished)["resumptions"][0]["changes"] == {"fit.epochs": "6 → 26"}


@pytest.mark.slow
def test_run_of_steps_is_extended(
    folder: Path, trainer: Callable, whole_run: Callable, refused: Callable
) -> None:
    run = whole_run("~fit.epochs", "fit.steps=8")
    assert json.loads(log_lines(run)[-1])["step"] == 8
    assert trainer("resume", run, "fit.steps=+10", "--quiet").code == 0
    assert json.loads(log_lines(run)[-1])["step"] == 18
    mentions = [f"trainer resume {run} fit.steps=+500"]
    refused("resume", run, "fit.steps=+0", mentions=mentions, kind="run")


@pytest.mark.slow
def test_early_stopped_run_resumes_with_more_patience(
    folder: Path, trainer: Callable, whole_run: Callable, refused: Callable
) -> None:
    patient = ("fit.epochs=40", "optimizer.learning_rate=0.5", "fit.early_stopping={patience: 2}")
    run = whole_run(*patient)
    stopped_at = len(log_lines(run))
    assert stopped_at < 40
    result = trainer("resume", run, "fit.early_stopping.patience=+5")
    assert result.code == 0, result.err
    assert len(log_lines(run)) > stopped_at
    uninterrupted = whole_run(*patient, "fit.early_stopping.patience=7")
    assert comparable_files(run) == comparable_files(uninterrupted)
    # More epochs alone do not help: they are not why it stopped.
    more = f"trainer resume {run} fit.early_stopping.patience=+10"
    mentions = [f"a finished run (val_loss has not improved for 7 epochs); extend it: {more}"]
    refused("resume", run, mentions=mentions, kind="run")
    again = trainer("resume", run, "fit.epochs=+5", "--json")
    assert again.code == 0
    assert "no epoch is trained: the run has ended" in again.err
    assert more in again.err
    assert "has not improved for 7 epochs" in again.json["stopped_because"]


def test_time_limit_ends_a_run_and_is_extended(
    folder: Path, trainer: Callable, after_epoch: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = 0.0
    monkeypatch.setattr(training_group, "perf_counter", lambda: perf_counter() + passed)

    def pass_time() -> None:
        nonlocal passed
        passed += 3600

    after_epoch(3, pass_time)
    result = trainer("fit", "good.yaml", "fit.epochs=12", "fit.max_seconds=3600", "--json")
    assert result.code == 0, result.err
    assert result.json["status"] == "finished"
    assert "fit.max_seconds: 3600 seconds have passed" in result.json["stopped_because"]
    assert 3 <= result.json["epochs"] <= 4
    run = Path(result.json["run"])
    refused = trainer("resume", run)
    assert refused.code == 2
    assert "fit.max_seconds=+60" in refused.err
    after_epoch(6, pass_time)
    more = trainer("resume", run, "fit.max_seconds=+3600", "--json")
    assert more.code == 0, more.err
    assert "7200 seconds have passed" in more.json["stopped_because"]
    assert 6 <= len(log_lines(run)) <= 7


def test_setting_that_does_not_affect_training_may_change(
    finished: Path, trainer: Callable
) -> None:
    weights = read_manifest(finished)["weights_sha256"]
    result = trainer("resume", finished, "evaluate.threshold=0.9", "--json", "--quiet")
    assert result.code == 0, result.err
    assert result.json["weights_sha256"] == weights
    assert result.json["stopped_because"] == "all epochs done"
    assert read_manifest(finished)["resumptions"][-1]["changes"] == {
        "evaluate.threshold": "0.5 → 0.9"
    }


# One writer.


def test_run_of_another_process_is_refused(
    folder: Path, stopped_run: Callable, refused: Callable
) -> None:
    run = stopped_run("good.yaml")
    mentions = ["expected a run that no other process is writing", f"process {os.getpid()}"]
    with RunLock(run / "lock"):
        refused("resume", run, mentions=mentions, kind="run")
        refused("resume", run, "fit.epochs=+1", mentions=mentions, kind="run")
        again = ("fit", "good.yaml", *SETTINGS, "--resume-or-start")
        refused(*again, mentions=mentions, kind="run")
    assert run_directories() == [run]


# Where the run is.


def test_moved_run_resumes_from_inside_its_directory(
    folder: Path,
    trainer: Callable,
    stopped_run: Callable,
    whole_run: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uninterrupted = comparable_files(whole_run())
    run = folder / "elsewhere" / "größer, mit Leerzeichen" / "läuft $HOME 'x'"
    run.parent.mkdir(parents=True)
    stopped_run("good.yaml").rename(run)
    monkeypatch.chdir(run)
    result = trainer("resume", ".")
    assert result.code == 0, result.err
    assert result.out == ".\n"
    assert comparable_files(run) == uninterrupted


@pytest.mark.slow
def test_warm_started_run_resumes_without_the_run_it_started_from(
    finished: Path, folder: Path, trainer: Callable, stopped_run: Callable
) -> None:
    shutil.move(folder / "whole", folder / "former")
    former = next((folder / "former").glob("good/*"))
    uninterrupted = trainer(
        "fit", "good.yaml", *SETTINGS, f"fit.warm_start={former}", "--runs", "whole", "--quiet"
    )
    run = stopped_run("good.yaml", f"fit.warm_start={former}")
    shutil.rmtree(former)
    result = trainer("resume", run)
    assert result.code == 0, result.err
    assert "warm start" not in result.err
    assert comparable_files(run) == comparable_files(Path(uninterrupted.out.strip()))


_CUSTOM = """\
import keras

def doubled():
    return keras.layers.Rescaling(2.0)

class Halving(keras.callbacks.Callback):
    \"\"\"Halves the learning rate after each epoch whose loss is not the best so far.\"\"\"

    def __init__(self):
        super().__init__()
        self.best, self.waited, self.door = float("inf"), 0, object()

    def on_epoch_end(self, epoch, logs=None):
        self.waited = 0 if logs["val_loss"] < self.best else self.waited + 1
        self.best = min(self.best, logs["val_loss"])
        if self.waited == 1:
            rate = self.model.optimizer.learning_rate
            rate.assign(rate * 0.5)
            self.waited = 0

def halving():
    return Halving()
"""


@pytest.mark.slow
def test_custom_layer_needs_permission_again_and_custom_callback_keeps_its_state(
    folder: Path, trainer: Callable, stopped_run: Callable, whole_run: Callable, refused: Callable
) -> None:
    (folder / "custom_of_resume.py").write_text(_CUSTOM)
    custom = (
        "model.layers=[{dense: 4}, {custom: 'custom_of_resume:doubled'}]",
        "fit.callbacks=[{custom: 'custom_of_resume:halving'}]",
        "optimizer.learning_rate=0.3",
    )
    run = stopped_run("good.yaml", *custom)
    before = comparable_files(run)
    refused("resume", run, mentions=["custom: custom_of_resume:doubled", "--allow-custom"])
    assert comparable_files(run) == before
    result = trainer("resume", run, "--allow-custom")
    assert result.code == 0, result.err
    assert "Halving.door" in result.err
    assert any("Halving.door" in warning for warning in read_manifest(run)["warnings"])
    assert comparable_files(run) == comparable_files(whole_run(*custom))


# fit --resume-or-start.


def test_resume_or_start_starts_a_run_and_leaves_a_finished_one(
    finished: Path, trainer: Callable
) -> None:
    settings = (*SETTINGS, "seed=9", "--runs", "whole")
    command = ("fit", "good.yaml", *settings, "--resume-or-start")
    started = trainer(*command, "--json")
    assert started.code == 0, started.err
    # A run of another config does not count.
    assert started.json["run"] != str(finished)
    # The finished run is reported with the same fields, for scripts.
    again = trainer(*command, "--json")
    assert again.code == 0
    assert "has finished: all epochs done" in again.err
    changing = ("seconds", "timings")
    same = {key: value for key, value in started.json.items() if key not in changing}
    assert {key: value for key, value in again.json.items() if key not in changing} == same
    assert set(again.json["timings"]) == set(started.json["timings"])
    assert trainer(*command).out == f"{started.json['run']}\n"


def test_resume_or_start_of_several_configs(
    folder: Path, trainer: Callable, stopped_run: Callable, whole_run: Callable
) -> None:
    uninterrupted = comparable_files(whole_run())
    stopped = stopped_run("good.yaml")
    (folder / "other.yaml").write_text((folder / "good.yaml").read_text())
    command = ("fit", "good.yaml", "other.yaml", *SETTINGS, "--resume-or-start")
    result = trainer(*command)
    assert result.code == 0, result.err
    assert "resumes after epoch 3" in result.err
    first, second = result.out.splitlines()
    assert first == str(stopped)
    assert second.startswith("runs/other/")
    assert comparable_files(stopped) == uninterrupted
    assert trainer(*command, "--quiet").out == result.out
    assert len(run_directories()) == 2


def test_resume_or_start_skips_damaged_and_incomplete_runs(
    folder: Path, trainer: Callable, stopped_run: Callable
) -> None:
    run = stopped_run("good.yaml")
    for name, damage in (
        ("config.yaml", "data: ["),
        ("manifest.json", "{"),
        ("manifest.json", '{"format": 1}'),
    ):
        other = run.with_name(name + str(len(damage)))
        shutil.copytree(run, other)
        (other / name).write_text(damage)
    # A scheduler does not know that its last checkpoint is missing.
    shutil.rmtree(run / "checkpoints" / "last")
    result = trainer("fit", "good.yaml", *SETTINGS, "--resume-or-start", "--quiet")
    assert result.code == 0, result.err
    assert result.out == f"{run}\n"


def test_resume_or_start_refuses_a_damaged_evaluation(finished: Path, trainer: Callable) -> None:
    command = ("fit", "good.yaml", *SETTINGS, "--resume-or-start", "--runs", "whole")
    for damage in ("{", "[]", '{"metrics": 5}', "[" * 100_000):
        (finished / "evaluation" / "test.json").write_text(damage)
        result = trainer(*command)
        assert result.code == 2, (damage[:30], result)
        assert "Traceback" not in result.err
        assert "evaluation/test.json" in result.err
