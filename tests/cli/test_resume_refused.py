"""What `trainer resume` refuses: what is not as it was, each difference named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.stopped import edit_manifest, log_of, manifest_of, stop
from tests.kill.comparison import compared


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
