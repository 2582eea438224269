"""`trainer resume` and `fit --resume-or-start`: what goes on, to the same bytes."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.stopped import SETTINGS, log_of, manifest_of, runs_there_are, stop
from tests.kill.comparison import compared


def test_a_stopped_run_ends_as_one_that_was_not(
    folder: Path, trainer: Callable, undisturbed: Callable
) -> None:
    run = stop("good.yaml")
    assert len(log_of(run)) == 3
    assert not list((run / "evaluation").glob("*"))
    answer = trainer("resume", run)
    assert answer.code == 0, answer.err
    assert answer.out == f"{run}\n"
    assert "goes on after epoch 3, step 9, from checkpoint last" in answer.err
    assert compared(run) == compared(undisturbed())
    manifest = manifest_of(run)
    assert (manifest["status"], manifest["epochs"]) == ("finished", 6)
    assert manifest["stopped_because"] == "all epochs done"
    (resumption,) = manifest["resumptions"]
    assert (resumption["epoch"], resumption["step"], resumption["checkpoint"]) == (3, 9, "last")
    assert resumption["differences"] == []
    assert resumption["changes"] == {}


def test_its_words_and_its_json_are_those_of_fit(folder: Path, trainer: Callable) -> None:
    whole = trainer("fit", "good.yaml", *SETTINGS, "--runs", "whole", "--json").json
    run = stop("good.yaml")
    answer = trainer("resume", run, "--json", "--quiet")
    assert answer.err == ""
    different = {"run": str(run), "seconds": answer.json["seconds"]}
    assert answer.json == {**whole, **different, "timings": answer.json["timings"]}
    assert set(answer.json["timings"]) == set(whole["timings"])
    timings = trainer("resume", run, "fit.epochs=+1", "--timings", "--quiet").err
    assert "train" in timings or not timings  # --quiet says nothing but warnings


def test_it_is_stopped_again_and_again(
    folder: Path, trainer: Callable, undisturbed: Callable, start: Callable
) -> None:
    more = ("fit.epochs=999", "fit.checkpoint.every=1 seconds")
    run = stop("good.yaml", *more)
    for number, code in ((signal.SIGTERM, 75), (signal.SIGINT, 130)):
        before = len(log_of(run))
        training = start("resume", str(run), "--json")
        training.wait_until(lambda before=before: len(log_of(run)) > before)
        ended, out, err = training.end(number)
        assert ended == code, err
        assert json.loads(out)["status"] == "stopped"
        assert f"resume with: trainer resume {run}" in err
    assert trainer("resume", run, "--quiet").code == 0
    assert len(manifest_of(run)["resumptions"]) == 3
    assert compared(run) == compared(undisturbed(*more))


# Finished runs, and how they are extended.


def test_a_finished_run_has_nothing_left(finished: Path, refused: Callable) -> None:
    before = compared(finished)
    says = ["one that has finished (all epochs done)", f"trainer resume {finished} fit.epochs=+20"]
    refused("resume", finished, says=says, kind="run")
    refused("resume", finished, "fit.epochs=6", says=says, kind="run")
    refused("resume", finished, "fit.epochs=+0", says=says, kind="run")
    assert compared(finished) == before


def test_an_extended_run_is_as_long_as_one_from_the_start(
    finished: Path, trainer: Callable, undisturbed: Callable
) -> None:
    first = log_of(finished)
    answer = trainer("resume", finished, "fit.epochs=+20")
    assert answer.code == 0, answer.err
    assert "epoch 26/26" in answer.err
    assert log_of(finished)[:6] == first
    assert len(log_of(finished)) == 26
    assert compared(finished) == compared(undisturbed("fit.epochs=26"))
    assert manifest_of(finished)["resumptions"][0]["changes"] == {"fit.epochs": "6 → 26"}
    # The config repeats the longer run.
    answer = trainer("fit", finished / "config.yaml", "--runs", "again", "--json", "--quiet")
    assert answer.json["weights_sha256"] == manifest_of(finished)["weights_sha256"]


def test_by_steps(
    folder: Path, trainer: Callable, undisturbed: Callable, refused: Callable
) -> None:
    by_steps = ("~fit.epochs", "fit.steps=8")
    run = undisturbed(*by_steps)
    assert json.loads(log_of(run)[-1])["step"] == 8
    assert trainer("resume", run, "fit.steps=+10", "--quiet").code == 0
    assert json.loads(log_of(run)[-1])["step"] == 18
    refused(
        "resume", run, "fit.steps=+0", says=[f"trainer resume {run} fit.steps=+500"], kind="run"
    )


def test_an_early_stopped_run_goes_on_with_more_patience(
    folder: Path, trainer: Callable, undisturbed: Callable, refused: Callable
) -> None:
    patient = ("fit.epochs=40", "optimizer.learning_rate=0.5", "fit.early_stopping={patience: 2}")
    run = undisturbed(*patient)
    stopped_at = len(log_of(run))
    assert stopped_at < 40
    answer = trainer("resume", run, "fit.early_stopping.patience=+5")
    assert answer.code == 0, answer.err
    assert len(log_of(run)) > stopped_at
    whole = undisturbed(*patient, "fit.early_stopping.patience=7")
    assert compared(run) == compared(whole)
    # More epochs alone do not help it: it has stopped for another reason.
    more = f"trainer resume {run} fit.early_stopping.patience=+10"
    says = [f"one that has finished (val_loss has not improved for 7 epochs); extend it: {more}"]
    refused("resume", run, says=says, kind="run")
    again = trainer("resume", run, "fit.epochs=+5", "--json")
    assert again.code == 0
    assert "no epoch is trained: the run has ended" in again.err
    assert more in again.err
    assert "has not improved for 7 epochs" in again.json["stopped_because"]


def test_it_ends_in_time_and_is_given_more(folder: Path, trainer: Callable) -> None:
    large = "model.layers=[{dense: 512}, {dense: 512}]"
    answer = trainer("fit", "good.yaml", large, "fit.epochs=999", "fit.max_seconds=4", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["status"] == "finished"
    assert "fit.max_seconds: 4 seconds are over" in answer.json["stopped_because"]
    assert 4 <= answer.json["seconds"] < 8
    assert answer.json["epochs"] < 999
    run = Path(answer.json["run"])
    refused = trainer("resume", run)
    assert refused.code == 2
    assert "fit.max_seconds=+60" in refused.err
    before = len(log_of(run))
    more = trainer("resume", run, "fit.max_seconds=+2", "--json")
    assert more.code == 0, more.err
    assert "6 seconds are over" in more.json["stopped_because"]
    assert len(log_of(run)) > before


def test_what_leaves_training_as_it_was_may_change(finished: Path, trainer: Callable) -> None:
    weights = manifest_of(finished)["weights_sha256"]
    answer = trainer("resume", finished, "evaluate.threshold=0.9", "--json", "--quiet")
    assert answer.code == 0, answer.err
    assert answer.json["weights_sha256"] == weights
    assert answer.json["stopped_because"] == "all epochs done"
    assert manifest_of(finished)["resumptions"][-1]["changes"] == {
        "evaluate.threshold": "0.5 → 0.9"
    }


# One writer.


def test_two_at_once(folder: Path, trainer: Callable, refused: Callable, start: Callable) -> None:
    run = stop("good.yaml")
    training = start("resume", str(run), "fit.epochs=999")
    training.wait_until(lambda: len(log_of(run)) > 6)
    says = ["expected a run that nobody writes", f"process {training.process.pid}"]
    refused("resume", run, says=says, kind="run")
    refused("resume", run, "fit.epochs=+1", says=says, kind="run")
    code, _, err = training.end(signal.SIGINT)
    assert code == 130, err
    again = trainer("resume", run, f"fit.epochs={len(log_of(run)) + 1}")
    assert again.code == 0, again.err


# Where the run is.


def test_a_run_that_was_moved(folder: Path, trainer: Callable, undisturbed: Callable) -> None:
    run = stop("good.yaml")
    place = folder / "elsewhere" / "größer, mit Leerzeichen" / "läuft $HOME 'x'"
    place.parent.mkdir(parents=True)
    run.rename(place)
    answer = trainer("resume", place, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["run"] == str(place)
    assert compared(place) == compared(undisturbed())


def test_from_inside_it(
    folder: Path, trainer: Callable, undisturbed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compared(undisturbed())
    run = folder / stop("good.yaml")
    monkeypatch.chdir(run)
    answer = trainer("resume", ".")
    assert answer.code == 0, answer.err
    assert answer.out == ".\n"
    assert compared(run) == whole


def test_a_run_that_started_from_one_that_is_gone(
    finished: Path, folder: Path, trainer: Callable
) -> None:
    shutil.move(folder / "whole", folder / "former")
    former = next((folder / "former").glob("good/*"))
    whole = trainer(
        "fit", "good.yaml", *SETTINGS, f"fit.warm_start={former}", "--runs", "whole", "--quiet"
    )
    run = stop("good.yaml", f"fit.warm_start={former}")
    shutil.rmtree(former)
    answer = trainer("resume", run)
    assert answer.code == 0, answer.err
    assert "warm start" not in answer.err
    assert compared(run) == compared(Path(whole.out.strip()))


def test_layers_of_ones_own_need_permission_again(
    folder: Path, trainer: Callable, undisturbed: Callable, refused: Callable
) -> None:
    (folder / "own_layers_of_resume.py").write_text(
        "import keras\ndef doubled():\n    return keras.layers.Rescaling(2.0)\n"
    )
    own = "model.layers=[{dense: 4}, {custom: 'own_layers_of_resume:doubled'}]"
    run = stop("good.yaml", own)
    before = compared(run)
    refused("resume", run, says=["custom: own_layers_of_resume:doubled", "--allow-custom"])
    assert compared(run) == before
    answer = trainer("resume", run, "--allow-custom")
    assert answer.code == 0, answer.err
    assert compared(run) == compared(undisturbed(own))


_OWN_CALLBACK = """\
import keras

class Halving(keras.callbacks.Callback):
    \"\"\"Halves the learning rate whenever three epochs in a row were no better.\"\"\"

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


def test_callbacks_of_ones_own_go_on(
    folder: Path, trainer: Callable, undisturbed: Callable
) -> None:
    (folder / "own_callback_of_resume.py").write_text(_OWN_CALLBACK)
    own = "fit.callbacks=[{custom: 'own_callback_of_resume:halving'}]"
    run = stop("good.yaml", own, "optimizer.learning_rate=0.3")
    answer = trainer("resume", run, "--allow-custom")
    assert answer.code == 0, answer.err
    assert "Halving.door" in answer.err
    assert any("Halving.door" in warning for warning in manifest_of(run)["warnings"])
    assert compared(run) == compared(undisturbed(own, "optimizer.learning_rate=0.3"))


# fit --resume-or-start.


def test_resume_or_start(folder: Path, trainer: Callable, undisturbed: Callable) -> None:
    words = ("fit", "good.yaml", *SETTINGS, "--resume-or-start")
    started = trainer(*words, "--json")
    assert started.code == 0, started.err
    assert len(runs_there_are()) == 1
    # It has finished: nothing happens, and a script reads the same facts.
    again = trainer(*words, "--json")
    assert again.code == 0
    assert "has finished: all epochs done" in again.err
    changing = ("seconds", "timings")
    same = {key: value for key, value in started.json.items() if key not in changing}
    assert {key: value for key, value in again.json.items() if key not in changing} == same
    assert set(again.json["timings"]) == set(started.json["timings"])
    assert trainer(*words).out == f"{started.json['run']}\n"
    # Another config has no run yet.
    other = trainer(*words, "seed=9", "--quiet")
    assert other.code == 0
    assert len(runs_there_are()) == 2
    shutil.rmtree("runs")
    stopped = stop("good.yaml")
    answer = trainer(*words)
    assert answer.code == 0, answer.err
    assert answer.out == f"{stopped}\n"
    assert "goes on after epoch 3" in answer.err
    assert compared(stopped) == compared(undisturbed())


def test_resume_or_start_of_several_configs(folder: Path, trainer: Callable) -> None:
    (folder / "other.yaml").write_text((folder / "good.yaml").read_text())
    stopped = stop("other.yaml")
    words = ("fit", "good.yaml", "other.yaml", *SETTINGS, "--resume-or-start")
    answer = trainer(*words)
    assert answer.code == 0, answer.err
    first, second = answer.out.splitlines()
    assert first.startswith("runs/good/")
    assert second == str(stopped)
    assert trainer(*words, "--quiet").out == answer.out
    assert len(runs_there_are()) == 2


def test_resume_or_start_leaves_a_run_that_is_written_alone(
    folder: Path, refused: Callable, start: Callable
) -> None:
    words = ("good.yaml", "fit.epochs=1000000", "fit.checkpoint.every=1 seconds")
    training = start("fit", *words)
    run = training.wait_for("good/*/checkpoints/last/checkpoint.json").parents[2]
    refused(
        "fit", *words, "--resume-or-start", says=["expected a run that nobody writes"], kind="run"
    )
    training.end(signal.SIGTERM)
    assert runs_there_are() == [run]


def test_resume_or_start_passes_over_what_it_cannot_read(folder: Path, trainer: Callable) -> None:
    run = stop("good.yaml")
    for name, damage in (
        ("config.yaml", "data: ["),
        ("manifest.json", "{"),
        ("manifest.json", '{"format": 1}'),
    ):
        other = run.with_name(name + str(len(damage)))
        shutil.copytree(run, other)
        (other / name).write_text(damage)
    answer = trainer("fit", "good.yaml", *SETTINGS, "--resume-or-start", "--quiet")
    assert answer.code == 0, answer.err
    assert answer.out == f"{run}\n"


def test_a_finished_run_with_a_damaged_evaluation_is_no_bug(
    finished: Path, folder: Path, trainer: Callable
) -> None:
    words = ("fit", "good.yaml", *SETTINGS, "--resume-or-start", "--runs", "whole")
    for damage in ("{", "[]", '{"metrics": 5}', "[" * 100_000):
        (finished / "evaluation" / "test.json").write_text(damage)
        answer = trainer(*words)
        assert answer.code == 2, (damage[:30], answer)
        assert "Traceback" not in answer.err
        assert "evaluation/test.json" in answer.err
