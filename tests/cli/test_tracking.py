"""Trackers at the command line: output of `check`, refusals, warnings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.tracking import trackers


def test_check_and_show_list_the_trackers(folder: Path, trainer: Callable) -> None:
    arguments = ("track.tensorboard=true", "track.mlflow.uri=sqlite:///m.db")
    result = trainer("check", "good.yaml", *arguments)
    assert "tracked by TensorBoard: tensorboard/ in the run directory" in result.out
    assert f"tracked by MLflow: sqlite:///{folder}/m.db, experiment good" in result.out
    assert set(trainer("check", "good.yaml", "--json", *arguments).json["tracked"]) == {
        "TensorBoard",
        "MLflow",
    }
    assert trainer("check", "good.yaml", "--json").json["tracked"] == {}
    done = trainer("fit", "good.yaml", "track.tensorboard=true", "--quiet")
    assert done.code == 0, done.err
    run = Path(done.out.strip())
    rows = [line.split() for line in trainer("show", run).out.splitlines()]
    assert ["tensorboard", f"{run}/tensorboard"] in rows


@pytest.mark.slow
def test_warning_is_printed_once_and_recorded(folder: Path, trainer: Callable) -> None:
    arguments = ("fit.repeats=3", "track.mlflow.uri=http://127.0.0.1:9")
    result = trainer("fit", "good.yaml", *arguments, "--quiet")
    assert result.code == 0, result.err
    lines = [line for line in result.err.splitlines() if "MLflow" in line]
    (line,) = lines
    assert line.startswith("warning: MLflow is disabled for the rest of this run")
    assert line.endswith("no response from http://127.0.0.1:9 (NewConnectionError)")
    (run,) = Path("runs").glob("*/*/members/0003")
    saved = json.loads((run / "manifest.json").read_text())["warnings"]
    assert line.removeprefix("warning: ") in saved


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        (["track.mlflow.uri=''"], ["track.mlflow.uri", "expected an address such as"]),
        (["track.mlflow={}"], ["track.mlflow.uri", "found nothing"]),
        (["track.mlflow.uri=htp://host"], ["a store that MLflow supports", "'htp://'"]),
        (["track.mlflow.uri=sqlte:///m.db"], ["did you mean 'sqlite'"]),
        (["track.mlflow.uri=http://"], ["a file or a host after 'http://'", "nothing"]),
        (["track.mlflow.uri='sqlite:///:memory:'"], ["a database that persists after the run"]),
        (["track.mlflow={uri: a, experiment: ''}"], ["track.mlflow.experiment"]),
        (["track.tensorboard.histograms=5"], ["a number of epochs such as '5 epochs'"]),
        (["track.tensorboard.histograms=200 steps"], ["a number of epochs such as '5 epochs'"]),
        (["track.tensorboard.histograms=9 epochs"], ["at most 2 epochs", "'9 epochs'"]),
        (["track.tensorbord=true"], ["did you mean 'tensorboard'"]),
    ],
)
def test_invalid_settings(
    refused_by_check_and_fit: Callable, arguments: list, mentions: list
) -> None:
    refused_by_check_and_fit("good.yaml", *arguments, mentions=mentions)


def test_missing_package_is_reported_before_training(
    refused_by_check_and_fit: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    mentions = ["track.tensorboard", "the package tensorboard", "pip install 'tensorboard"]
    refused_by_check_and_fit("good.yaml", "track.tensorboard=true", mentions=mentions)
