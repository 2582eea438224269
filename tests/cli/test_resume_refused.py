"""`trainer resume` names each change of config, data and machine, and refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.runs import edit_manifest, log_lines, read_manifest
from tests.kill.comparison import comparable_files


def test_config_edited_by_hand(
    folder: Path, stopped_run: Callable, trainer: Callable, refused: Callable
) -> None:
    run = stopped_run("good.yaml")
    config = run / "config.yaml"
    text = config.read_text()
    assert "learning_rate: 0.001" in text
    config.write_text(text.replace("learning_rate: 0.001", "learning_rate: 0.01"))
    before = comparable_files(run)
    refused(
        "resume",
        run,
        kind="run",
        mentions=[
            "config.yaml optimizer.learning_rate: expected 0.001, as in the run so far, found 0.01",
            "--accept-differences",
        ],
    )
    assert comparable_files(run) == before
    assert not (run / "lock").exists()


CHANGES_TRAINING = {
    "optimizer.learning_rate=0.5": "optimizer.learning_rate: expected 0.001",
    "model.layers.0.dense.units=8": "model.layers.0.dense.units: expected 4",
    "seed=1": "seed: expected 0",
    "fit.batch_size=8": "fit.batch_size: expected 12",
    "~fit.batch_size": "fit.batch_size: expected 12, as in the run so far, found 32",
    "optimizer.clip_norm=1.0": "optimizer.clip_norm: expected not set",
    "fit.early_stopping={patience: 2}": "fit.early_stopping: expected not set",
    "runtime.precision=mixed_bfloat16": "runtime.precision: expected float32",
}


def test_override_that_changes_training(finished: Path, refused: Callable) -> None:
    for override, mentions in CHANGES_TRAINING.items():
        refused(
            "resume", finished, override, mentions=[mentions, "--accept-differences"], kind="run"
        )


INVALID = {
    "fit.epoch=+3": "did you mean 'fit.epochs'?",
    "fit.epoch=9": "did you mean 'epochs'?",
    "fit.batch_size=+8": "expected '+' with fit.epochs",
    "model.layers.0.dense.units=+8": "write model.layers.0.dense.units=8",
    "fit.steps=+8": "write fit.steps=8 without the '+'",
    "fit.epochs=+many": "expected a number after the '+', found 'many'",
    "fit.epochs=many": "expected an integer",
    "more": "no '='",
    "~fit.nothing": "fit",
    "extends=other.yaml": "extends",
}


def test_invalid_override(finished: Path, refused: Callable) -> None:
    for override, mentions in INVALID.items():
        refused(
            "resume",
            finished,
            override,
            mentions=[f"override '{override}'", mentions],
            kind="config",
        )


def test_setting_given_as_an_option(finished: Path, refused: Callable) -> None:
    refused("resume", finished, "--fit.epochs=+3", mentions=["write fit.epochs=+3"], kind="usage")


@pytest.mark.parametrize("change", ["a value", "a row"])
def test_changed_data(change: str, folder: Path, stopped_run: Callable, refused: Callable) -> None:
    run = stopped_run("good.yaml")
    table = folder / "table.csv"
    lines = table.read_text().splitlines()
    if change == "a value":
        lines[1] = lines[1].replace("1000", "1001", 1)
    else:
        lines.append("33,1500,B,yes")
    table.write_text("\n".join(lines) + "\n")
    rows = len(lines) - 1
    mentions = ["table.csv: expected unchanged content: 60 rows, SHA-256", f"found {rows} rows"]
    refused("resume", run, mentions=mentions, kind="run")


def test_missing_data(folder: Path, stopped_run: Callable, refused: Callable) -> None:
    run = stopped_run("good.yaml")
    (folder / "table.csv").rename(folder / "tabel.csv")
    refused("resume", run, mentions=["table.csv", "tabel.csv"], kind="data")


def test_added_and_missing_data_file(
    folder: Path, stopped_run: Callable, trainer: Callable, refused: Callable
) -> None:
    header, *lines = (folder / "table.csv").read_text().splitlines()
    parts = folder / "parts"
    parts.mkdir()
    for number in range(3):
        part = [header, *lines[20 * number : 20 * number + 20]]
        (parts / f"{number}.csv").write_text("\n".join(part) + "\n")
    run = stopped_run("good.yaml", "data.source=parts/*.csv")
    (parts / "2.csv").rename(parts / "3.csv")
    mentions = [
        "2.csv: expected this data file, as in the run so far",
        "3.csv: expected the data files of the run so far",
    ]
    refused("resume", run, mentions=mentions, kind="run")


def test_all_differences_are_reported_at_once(
    folder: Path, stopped_run: Callable, refused: Callable
) -> None:
    run = stopped_run("good.yaml")
    packages = read_manifest(run)["packages"]
    edit_manifest(
        run,
        packages={**packages, "numpy": "1.0", "extra": "3.1"},
        python="3.1.4",
        processor="a calculator",
    )
    with (folder / "table.csv").open("a") as table:
        table.write("33,1500,B,yes\n")
    result = refused(
        "resume",
        run,
        "seed=5",
        kind="run",
        mentions=[
            "seed: expected 0, as in the run so far, found 5",
            "table.csv: expected unchanged content",
            f"numpy: expected 1.0, as in the run so far, found {packages['numpy']}",
            "extra: expected 3.1, as in the run so far, found none",
            "python: expected 3.1.4",
            "processor: expected a calculator",
        ],
    )
    assert len(result.json["error"]["problems"]) == 6


@pytest.mark.parametrize(
    ("changes", "mentions"),
    [
        ({"device": "GPU of yore"}, "device: expected GPU of yore, "),
        ({"threads": 64}, "expected CPU, 64 threads, as in the run so far, found CPU, "),
    ],
)
def test_other_device(
    changes: dict[str, Any], mentions: str, folder: Path, stopped_run: Callable, refused: Callable
) -> None:
    run = stopped_run("good.yaml")
    edit_manifest(run, **changes)
    before = comparable_files(run)
    refused("resume", run, mentions=[mentions, "--accept-differences"], kind="run")
    assert comparable_files(run) == before


@pytest.mark.slow
def test_accepted_differences_are_recorded(
    folder: Path, stopped_run: Callable, trainer: Callable
) -> None:
    # One more row does not change the number of batches.
    run = stopped_run("good.yaml", "fit.batch_size=16")
    edit_manifest(run, python="3.1.4", device="GPU of yore")
    with (folder / "table.csv").open("a") as table:
        table.write("33,1500,B,yes\n")
    result = trainer("resume", run, "optimizer.learning_rate=0.01", "--accept-differences")
    assert result.code == 0, result.err
    manifest = read_manifest(run)
    assert manifest["status"] == "finished"
    (resumption,) = manifest["resumptions"]
    differences = "\n".join(resumption["differences"])
    for text in ("optimizer.learning_rate", "table.csv", "python: expected 3.1.4", "device"):
        assert text in differences
    assert [json.loads(line)["learning_rate"] for line in log_lines(run)][3:] == [
        pytest.approx(0.01)
    ] * 3
    assert "learning_rate: 0.01" in (run / "config.yaml").read_text()
    # Later resumptions compare with what was accepted.
    again = trainer("resume", run, "fit.epochs=+1")
    assert again.code == 0, again.err
    assert trainer("eval", run).code == 0


@pytest.mark.parametrize("kind", ["last", "checkpoints"])
def test_missing_checkpoints(
    kind: str, folder: Path, stopped_run: Callable, trainer: Callable, refused: Callable
) -> None:
    run = stopped_run("good.yaml")
    if kind == "checkpoints":
        shutil.rmtree(run / "checkpoints")
    else:
        for former in (run / "checkpoints").glob("last*"):
            shutil.rmtree(former)
    before = comparable_files(run)
    refused("resume", run, mentions=["checkpoints/last", "nothing to resume from"], kind="run")
    assert comparable_files(run) == before


def test_path_that_is_not_a_run(folder: Path, stopped_run: Callable, refused: Callable) -> None:
    refused("resume", "runs/good/x", mentions=["runs/good/x", "no such path"], kind="run")
    refused("resume", "good.yaml", mentions=["good.yaml", "a file outside any run"], kind="run")
    refused("resume", ".", mentions=["a directory without a manifest.json"], kind="run")
    foreign = folder / "foreign"
    foreign.mkdir()
    (foreign / "manifest.json").write_text('{"name": "web app", "icons": []}')
    refused("resume", "foreign", mentions=["foreign/manifest.json"], kind="run")
    assert [path.name for path in foreign.iterdir()] == ["manifest.json"]
    run = stopped_run("good.yaml")
    refused("resume", run.parent, mentions=["a folder with 1 run", str(run)], kind="run")
    refused(
        "resume", run / "checkpoints/best", mentions=["checkpoint 'best'", str(run)], kind="run"
    )
    refused("resume", str(run)[:-1], mentions=["did you mean"], kind="run")


def test_replaced_file(folder: Path, stopped_run: Callable, refused: Callable) -> None:
    run = stopped_run("good.yaml")
    fitted = run / "preprocessing.json"
    original = fitted.read_bytes()
    fitted.write_bytes(original.replace(b'"mean": ', b'"mean": 1', 1))
    assert fitted.read_bytes() != original
    refused("resume", run, mentions=["preprocessing.json"], kind="run")
    fitted.write_bytes(original)
    (run / "splits.parquet").write_bytes(b"PAR1")
    refused("resume", run, mentions=["splits.parquet"], kind="run")
