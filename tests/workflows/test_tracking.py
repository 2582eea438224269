"""Tracked runs: what is logged, and that tracking does not change the bytes of a run."""

import json
import logging
import os
import shutil
import socket
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.marks import slow_except
from tests.tracking.test_tensorboard_tracker import curve, read
from tests.workflows.conftest import CONFIG, run_fit, run_members, write_table
from trainer.config.load import load_config
from trainer.engine.events import EpochEnd
from trainer.tracking import tensorboard_tracker
from trainer.workflows.fit import fit_run
from trainer.workflows.resume import resume_run
from trainer.workflows.training import RunFinished, RunStarted

BOARD = "track.tensorboard.histograms=2 epochs"


def store(folder: Path) -> str:
    return f"track.mlflow.uri={folder}/mlruns"


def manifest(run: Path) -> dict:
    return json.loads((run / "manifest.json").read_text())


def history(run: Path, measure: str = "loss") -> list[tuple[int, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(line["epoch"], line[measure]) for line in lines]


def in_mlflow(run: Path, measure: str = "loss") -> list[tuple[int, float]]:
    place = json.loads((run / "tracking.json").read_text())["mlflow"]
    points = MlflowClient(place["uri"]).get_metric_history(place["run_id"], measure)
    return sorted((point.step, point.value) for point in points)


def in_tensorboard(run: Path, split: str, tag: str) -> list[tuple[int, float]]:
    return curve(read(run / "tensorboard" / split), tag)


def histogram_steps(run: Path) -> list[int]:
    return [one.step for one in read(run / "tensorboard" / "train").Tensors("dense/kernel")]


def check_curves(run: Path) -> None:
    """Both trackers have what the run's own log has, each step once."""
    assert in_mlflow(run) == history(run)
    assert in_mlflow(run, "val_loss") == history(run, "val_loss")
    for split, begin in (("train", ""), ("validation", "val_")):
        for name in ("loss", "accuracy"):
            logged = in_tensorboard(run, split, f"epoch_{name}")
            assert [step for step, _ in logged] == [step for step, _ in history(run)]
            expected = [value for _, value in history(run, f"{begin}{name}")]
            assert [value for _, value in logged] == pytest.approx(expected, rel=1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracked")
    write_table(folder / "small.csv")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def untracked(folder) -> RunFinished:
    return run_fit(folder / "config.yaml", folder / "untracked")


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def test_a_tracked_run_has_the_same_bytes_and_the_same_curves(folder, untracked):
    done = run_fit(folder / "config.yaml", folder / "runs", BOARD, store(folder))
    assert done.weights_sha256 == untracked.weights_sha256
    for kept in ("metrics.jsonl", "preprocessing.json", "checkpoints/best/model.keras"):
        assert (done.run / kept).read_bytes() == (untracked.run / kept).read_bytes()
    assert manifest(done.run)["warnings"] == manifest(untracked.run)["warnings"]
    assert manifest(done.run)["timings"]["track"] > 0
    check_curves(done.run)
    assert histogram_steps(done.run) == [2, 4]
    (step, value), *_ = in_tensorboard(done.run, "", "test_loss")
    assert step == done.best_epoch
    assert value == pytest.approx(done.metrics["test"]["loss"])
    place = json.loads((done.run / "tracking.json").read_text())["mlflow"]
    found = MlflowClient(place["uri"]).get_run(place["run_id"])
    assert found.info.status == "FINISHED"
    assert found.data.metrics["test_loss"] == done.metrics["test"]["loss"]
    assert found.data.tags["trainer.weights_sha256"] == done.weights_sha256
    model = Path(found.info.artifact_uri) / "model" / "model.keras"
    assert model.read_bytes() == (done.run / "checkpoints/best/model.keras").read_bytes()


def test_a_killed_and_resumed_run_tells_each_step_once(folder, untracked):
    config, runs = folder / "config.yaml", folder / "killed"
    events = fit_run(
        load_config(config, [BOARD, store(folder)]),
        runs=runs,
        command=("trainer", "fit"),
        allow_custom=False,
        interrupted=lambda: None,
    )
    whole = runs / "copy"
    for event in events:
        if isinstance(event, RunStarted):
            # The only checkpoint is the initial one: epochs that were logged are trained again.
            run = event.run
        if isinstance(event, EpochEnd) and event.epoch == 3:
            shutil.copytree(run, whole, ignore=shutil.ignore_patterns("lock"))
            break
    events.close()
    check = [step for step, _ in in_tensorboard(whole, "train", "epoch_loss")]
    assert check == [1, 2, 3]
    # Of the process that was closed MLflow has heard the end.
    (whole / "tracking.json").write_bytes((run / "tracking.json").read_bytes())
    assert [step for step, _ in in_mlflow(whole)] == [1, 2, 3]
    shutil.rmtree(run)
    *_, done = resume_run(
        whole,
        (),
        command=("trainer", "resume"),
        accept_differences=False,
        allow_custom=False,
        interrupted=lambda: None,
    )
    assert isinstance(done, RunFinished)
    assert manifest(whole)["resumptions"][0]["epoch"] == 0
    assert done.weights_sha256 == untracked.weights_sha256
    check_curves(whole)
    assert histogram_steps(whole) == [2, 4]


@pytest.mark.slow
def test_members_of_a_pack_are_tracked_each(folder):
    words = ("fit.folds=2", "fit.epochs=3")
    done = run_members(folder / "config.yaml", folder / "several", *words, BOARD, store(folder))
    plain = run_members(folder / "config.yaml", folder / "several", *words)
    for tracked, member in zip(done.members, plain.members, strict=True):
        digests = [manifest(one.run)["weights_sha256"] for one in (tracked, member)]
        assert digests[0] == digests[1] is not None
        check_curves(tracked.run)
        assert histogram_steps(tracked.run) == [2]
    runs = {json.loads((one.run / "tracking.json").read_text())["mlflow"]["run_id"]
            for one in done.members}  # fmt: skip
    assert len(runs) == 2


@pytest.fixture
def silent():
    """Return the address of a server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "which", slow_except(("closed", "full"), ("closed", "silent", "unwritable", "full"))
)
def test_a_tracker_that_fails_changes_nothing_and_warns_once(
    folder, untracked, silent, which, monkeypatch, caplog, tmp_path
):
    words = {
        "closed": "track.mlflow.uri=http://127.0.0.1:9",
        "silent": f"track.mlflow.uri={silent}",
    }
    if which == "unwritable":
        (tmp_path / "tensorboard").write_text("in the way")
    if which == "full":

        def full(*_):
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(tensorboard_tracker._EventFile, "add", full)
    with caplog.at_level(logging.WARNING, "trainer"):
        *_, done = fit_run(
            load_config(folder / "config.yaml", [words.get(which, BOARD)]),
            runs=tmp_path,
            run_path=tmp_path,
            command=("trainer", "fit"),
            allow_custom=False,
            interrupted=lambda: None,
        )
    assert done.weights_sha256 == untracked.weights_sha256
    assert done.metrics == untracked.metrics
    logged = [one.getMessage() for one in caplog.records if one.name.startswith("trainer")]
    (text,) = logged
    name = "MLflow" if which in words else "TensorBoard"
    assert text.startswith(f"{name} is disabled for the rest of this run: ")
    saved = manifest(done.run)
    assert saved["status"] == "finished"
    assert saved["warnings"] == [*manifest(untracked.run)["warnings"], text]
