"""`trainer resume` and `fit --resume-or-start`: what goes on, to the same bytes; what is refused."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kill.comparison import compared
from trainer.config.load import load_config
from trainer.engine.fit import EpochResult
from trainer.runs.checkpoints import read_checkpoint
from trainer.workflows.fit import fit_run

SETTINGS = ("fit.epochs=6", "model.layers=[{dense: 4}, batch_normalization, {dropout: 0.2}]")


def stop(config: str | Path, *overrides: str, after: int = 3) -> Path:
    """A run that was asked to stop with an epoch."""
    epoch = 0
    events = fit_run(
        load_config(Path(config), [*SETTINGS, *overrides]),
        runs=Path("runs"),
        command=("trainer", "fit", str(config)),
        allow_custom=True,
        interrupted=lambda: "stopped by SIGTERM" if epoch >= after - 1 else None,
    )
    for event in events:
        if isinstance(event, EpochResult):
            epoch = event.epoch
    (run,) = {path.parent for path in Path("runs").glob("*/*/metrics.jsonl")}
    assert manifest_of(run)["status"] == "stopped"
    assert manifest_of(run)["epochs"] == after
    return run


def manifest_of(run: Path) -> Any:
    return json.loads((run / "manifest.json").read_text())


def edit_manifest(run: Path, **changes: Any) -> None:
    (run / "manifest.json").write_text(json.dumps({**manifest_of(run), **changes}))


def log_of(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()


@pytest.fixture
def undisturbed(folder: Path, trainer: Callable) -> Callable[..., Path]:
    """A run from start to end, in a folder of its own."""

    def call(*overrides: str, config: str = "good.yaml") -> Path:
        answer = trainer(
            "fit", config, *SETTINGS, *overrides, "--runs", "whole", "--quiet", "--allow-custom"
        )
        assert answer.code == 0, answer.err
        return Path(answer.out.strip())

    return call


@pytest.fixture
def finished(undisturbed: Callable) -> Path:
    return undisturbed()


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
        assert f"it goes on with: trainer resume {run}" in err
    assert trainer("resume", run, "--quiet").code == 0
    assert len(manifest_of(run)["resumptions"]) == 3
    assert compared(run) == compared(undisturbed(*more))


# What is refused.


def test_a_config_edited_by_hand_is_refused(
    folder: Path, trainer: Callable, refused: Callable
) -> None:
    run = stop("good.yaml")
    config = run / "config.yaml"
    text = config.read_text()
    assert "learning_rate: 0.001" in text
    config.write_text(text.replace("learning_rate: 0.001", "learning_rate: 0.01"))
    before = compared(run)
    refused(
        "resume",
        run,
        kind="run",
        says=[
            "config.yaml optimizer.learning_rate: expected 0.001, as in the run so far, found 0.01",
            "--accept-differences",
        ],
    )
    assert compared(run) == before
    assert not (run / "lock").exists()


OTHER_SETTINGS = {
    "optimizer.learning_rate=0.5": "optimizer.learning_rate: expected 0.001",
    "model.layers.0.dense.units=8": "model.layers.0.dense.units: expected 4",
    "seed=1": "seed: expected 0",
    "fit.batch_size=8": "fit.batch_size: expected 16",
    "~fit.batch_size": "fit.batch_size: expected 16, as in the run so far, found 32",
    "optimizer.clip_norm=1.0": "optimizer.clip_norm: expected not set",
    "fit.early_stopping={patience: 2}": "fit.early_stopping: expected not set",
    "runtime.precision=mixed_bfloat16": "runtime.precision: expected float32",
}


def test_an_override_that_is_no_extension_is_refused(finished: Path, refused: Callable) -> None:
    for override, says in OTHER_SETTINGS.items():
        refused("resume", finished, override, says=[says, "--accept-differences"], kind="run")


NO_SETTINGS = {
    "fit.epoch=+3": "did you mean 'fit.epochs'?",
    "fit.epoch=9": "did you mean 'epochs'?",
    "fit.batch_size=+8": "expected '+' with fit.epochs",
    "model.layers.0.dense.units=+8": "write model.layers.0.dense.units=8",
    "fit.steps=+8": "write fit.steps=8 without the '+'",
    "fit.epochs=+many": "expected a number after the '+', found 'many'",
    "fit.epochs=many": "expected a whole number",
    "more": "no '='",
    "~fit.nothing": "fit",
    "extends=other.yaml": "extends",
}


def test_a_word_that_is_no_setting_is_refused(finished: Path, refused: Callable) -> None:
    for word, says in NO_SETTINGS.items():
        refused("resume", finished, word, says=[f"override '{word}'", says], kind="config")


def test_a_stray_option_is_answered_with_its_right_form(finished: Path, refused: Callable) -> None:
    refused("resume", finished, "--fit.epochs=+3", says=["write fit.epochs=+3"], kind="usage")


@pytest.mark.parametrize("change", ["a value", "a row"])
def test_changed_data_are_refused(change: str, folder: Path, refused: Callable) -> None:
    run = stop("good.yaml")
    table = folder / "table.csv"
    lines = table.read_text().splitlines()
    if change == "a value":
        lines[1] = lines[1].replace("1000", "1001", 1)
    else:
        lines.append("33,1500,B,yes")
    table.write_text("\n".join(lines) + "\n")
    rows = len(lines) - 1
    says = ["table.csv: expected the content it had: 60 rows, SHA-256", f"found {rows} rows"]
    refused("resume", run, says=says, kind="run")


def test_data_that_are_gone_are_named(folder: Path, refused: Callable) -> None:
    run = stop("good.yaml")
    (folder / "table.csv").rename(folder / "tabel.csv")
    refused("resume", run, says=["table.csv", "tabel.csv"], kind="data")


def test_one_more_file_and_one_less_are_told_of(
    folder: Path, trainer: Callable, refused: Callable
) -> None:
    header, *lines = (folder / "table.csv").read_text().splitlines()
    parts = folder / "parts"
    parts.mkdir()
    for number in range(3):
        part = [header, *lines[20 * number : 20 * number + 20]]
        (parts / f"{number}.csv").write_text("\n".join(part) + "\n")
    run = stop("good.yaml", "data.source=parts/*.csv")
    (parts / "2.csv").rename(parts / "3.csv")
    says = ["2.csv: expected this file of the data", "3.csv: expected the files of the run so far"]
    refused("resume", run, says=says, kind="run")


def test_each_difference_is_told_of_at_once(folder: Path, refused: Callable) -> None:
    run = stop("good.yaml")
    packages = manifest_of(run)["packages"]
    edit_manifest(
        run,
        packages={**packages, "numpy": "1.0", "extra": "3.1"},
        python="3.1.4",
        processor="a calculator",
    )
    with (folder / "table.csv").open("a") as table:
        table.write("33,1500,B,yes\n")
    answer = refused(
        "resume",
        run,
        "seed=5",
        kind="run",
        says=[
            "seed: expected 0, as in the run so far, found 5",
            "table.csv: expected the content it had",
            f"numpy: expected 1.0, as in the run so far, found {packages['numpy']}",
            "extra: expected 3.1, as in the run so far, found none",
            "python: expected 3.1.4",
            "processor: expected a calculator",
        ],
    )
    assert len(answer.json["error"]["problems"]) == 6


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"device": "GPU of yore"}, "device: expected GPU of yore, "),
        ({"threads": 64}, "expected CPU, 64 threads, as in the run so far, found CPU, "),
    ],
)
def test_another_device_is_refused(
    changes: dict[str, Any], says: str, folder: Path, refused: Callable
) -> None:
    run = stop("good.yaml")
    edit_manifest(run, **changes)
    before = compared(run)
    refused("resume", run, says=[says, "--accept-differences"], kind="run")
    assert compared(run) == before


def test_differences_are_accepted_and_recorded(folder: Path, trainer: Callable) -> None:
    run = stop("good.yaml")
    edit_manifest(run, python="3.1.4", device="GPU of yore")
    with (folder / "table.csv").open("a") as table:
        table.write("33,1500,B,yes\n")
    answer = trainer("resume", run, "optimizer.learning_rate=0.01", "--accept-differences")
    assert answer.code == 0, answer.err
    manifest = manifest_of(run)
    assert manifest["status"] == "finished"
    (resumption,) = manifest["resumptions"]
    told = "\n".join(resumption["differences"])
    for words in ("optimizer.learning_rate", "table.csv", "python: expected 3.1.4", "device"):
        assert words in told
    assert [json.loads(line)["learning_rate"] for line in log_of(run)][3:] == [
        pytest.approx(0.01)
    ] * 3
    assert "learning_rate: 0.01" in (run / "config.yaml").read_text()
    # What was accepted once is what later resumptions compare with.
    again = trainer("resume", run, "fit.epochs=+1")
    assert again.code == 0, again.err
    assert trainer("eval", run).code == 0


@pytest.mark.parametrize("place", ["last", "checkpoints"])
def test_without_a_checkpoint_there_is_nothing_to_go_on_from(
    place: str, folder: Path, trainer: Callable, refused: Callable
) -> None:
    run = stop("good.yaml")
    if place == "checkpoints":
        shutil.rmtree(run / "checkpoints")
    else:
        for former in (run / "checkpoints").glob("last*"):
            shutil.rmtree(former)
    before = compared(run)
    refused("resume", run, says=["checkpoints/last", "nothing to resume from"], kind="run")
    assert compared(run) == before


def test_a_place_without_a_run_is_refused(folder: Path, refused: Callable) -> None:
    refused("resume", "runs/good/x", says=["runs/good/x", "nothing there"], kind="run")
    refused("resume", "good.yaml", says=["good.yaml", "a file outside any run"], kind="run")
    refused("resume", ".", says=["a directory without a manifest.json"], kind="run")
    foreign = folder / "foreign"
    foreign.mkdir()
    (foreign / "manifest.json").write_text('{"name": "web app", "icons": []}')
    refused("resume", "foreign", says=["foreign/manifest.json"], kind="run")
    assert [path.name for path in foreign.iterdir()] == ["manifest.json"]
    run = stop("good.yaml")
    refused("resume", run.parent, says=["a folder with 1 run", str(run)], kind="run")
    refused("resume", run / "checkpoints/best", says=["checkpoint 'best'", str(run)], kind="run")
    refused("resume", str(run)[:-1], says=["did you mean"], kind="run")


def test_a_file_that_was_exchanged_is_named(folder: Path, refused: Callable) -> None:
    run = stop("good.yaml")
    fitted = run / "preprocessing.json"
    kept = fitted.read_bytes()
    fitted.write_bytes(kept.replace(b'"mean": ', b'"mean": 1', 1))
    assert fitted.read_bytes() != kept
    refused("resume", run, says=["preprocessing.json"], kind="run")
    fitted.write_bytes(kept)
    (run / "splits.parquet").write_bytes(b"PAR1")
    refused("resume", run, says=["splits.parquet"], kind="run")


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


def test_by_steps(folder: Path, trainer: Callable, undisturbed: Callable) -> None:
    by_steps = ("~fit.epochs", "fit.steps=8")
    run = undisturbed(*by_steps)
    assert json.loads(log_of(run)[-1])["step"] == 8
    assert trainer("resume", run, "fit.steps=+10", "--quiet").code == 0
    assert json.loads(log_of(run)[-1])["step"] == 18
    assert trainer("resume", run, "fit.steps=+0").code == 2


def test_an_early_stopped_run_goes_on_with_more_patience(
    folder: Path, trainer: Callable, undisturbed: Callable
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
    again = trainer("resume", run, "fit.epochs=+5", "--json", "--quiet")
    assert again.code == 0
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


# fit --resume-or-start.


def runs_there_are() -> list[Path]:
    return sorted(Path("runs").glob("*/*/"))


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


# Damage.


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
    rewind = "fit.on_nonfinite={action: rewind, limit: 4, factor: 1e-17}"
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
    answer = trainer("fit", "good.yaml", *SETTINGS, *WILD, "fit.on_nonfinite=rewind")
    assert answer.code == 3, answer
    assert "after going back 3 times" in answer.err
    assert "epoch 1, step 2: expected a finite loss" in answer.err
    (run,) = runs_there_are()
    assert len(manifest_of(run)["rewinds"]) == 3
    assert read_checkpoint(run / "checkpoints" / "last").facts["epoch"] == 0
