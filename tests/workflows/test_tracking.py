"""Tracked runs: what is logged, and that tracking does not change the bytes of a run."""

import json
import logging
import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.marks import slow_except
from tests.tracking.test_mlflow_tracker import client
from tests.tracking.test_tensorboard_tracker import curve, read
from tests.workflows.conftest import CONFIG, run_fit, run_members, write_table
from trainer.config.load import load_config
from trainer.engine.events import EpochEnd
from trainer.tracking import tensorboard_tracker
from trainer.workflows.events import RunFinished, RunStarted
from trainer.workflows.fit import fit_run
from trainer.workflows.resuming.resume import resume_run
from trainer.workflows.session import Session

BOARD = "track.tensorboard.histograms=2 epochs"


def store(folder: Path) -> str:
    return f"track.mlflow.uri={folder}/mlruns"


def manifest(run: Path) -> dict:
    return json.loads((run / "manifest.json").read_text())


def history(run: Path, metric: str = "loss") -> list[tuple[int, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(line["epoch"], line[metric]) for line in lines]


def in_mlflow(run: Path, metric: str = "loss") -> list[tuple[int, float]]:
    record = json.loads((run / "tracking.json").read_text())["mlflow"]
    points = client(record["uri"]).get_metric_history(record["run_id"], metric)
    return sorted((point.step, point.value) for point in points)


def in_tensorboard(run: Path, split: str, tag: str) -> list[tuple[int, float]]:
    return curve(read(run / "tensorboard" / split), tag)


def histogram_steps(run: Path) -> list[int]:
    return [event.step for event in read(run / "tensorboard" / "train").Tensors("dense/kernel")]


def check_curves(run: Path) -> None:
    """Check that both trackers have the values of `metrics.jsonl`, each step once."""
    assert in_mlflow(run) == history(run)
    assert in_mlflow(run, "val_loss") == history(run, "val_loss")
    for split, prefix in (("train", ""), ("validation", "val_")):
        for name in ("loss", "accuracy"):
            logged = in_tensorboard(run, split, f"epoch_{name}")
            assert [step for step, _ in logged] == [step for step, _ in history(run)]
            expected = [value for _, value in history(run, f"{prefix}{name}")]
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
def _short_timeouts(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


# tests/tracking has quick tests of what is logged; the last test is a quick one of unchanged weights.
@pytest.mark.slow
def test_tracking_changes_no_byte_and_logs_all_curves(folder, untracked):
    done = run_fit(folder / "config.yaml", folder / "runs", BOARD, store(folder))
    assert done.weights_sha256 == untracked.weights_sha256
    for name in ("metrics.jsonl", "preprocessing.json", "checkpoints/best/model.keras"):
        assert (done.run / name).read_bytes() == (untracked.run / name).read_bytes()
    assert manifest(done.run)["warnings"] == manifest(untracked.run)["warnings"]
    assert manifest(done.run)["timings"]["track"] > 0
    check_curves(done.run)
    assert histogram_steps(done.run) == [2, 4]
    (step, value), *_ = in_tensorboard(done.run, "", "test_loss")
    assert step == done.best_epoch
    assert value == pytest.approx(done.metrics["test"]["loss"])
    record = json.loads((done.run / "tracking.json").read_text())["mlflow"]
    stored = client(record["uri"]).get_run(record["run_id"])
    assert stored.info.status == "FINISHED"
    assert stored.data.metrics["test_loss"] == done.metrics["test"]["loss"]
    assert stored.data.tags["trainer.weights_sha256"] == done.weights_sha256
    model = Path(stored.info.artifact_uri) / "model" / "model.keras"
    assert model.read_bytes() == (done.run / "checkpoints/best/model.keras").read_bytes()


@pytest.mark.slow
def test_killed_and_resumed_run_logs_each_step_once(folder, untracked):
    config, runs = folder / "config.yaml", folder / "killed"
    events = fit_run(
        load_config(config, [BOARD, store(folder)]),
        Session(("trainer", "fit")),
        runs,
    )
    killed = runs / "copy"
    for event in events:
        if isinstance(event, RunStarted):
            # The only checkpoint is the initial one: epochs that were logged are trained again.
            run = event.run
        if isinstance(event, EpochEnd) and event.epoch == 3:
            shutil.copytree(run, killed, ignore=shutil.ignore_patterns("lock"))
            break
    events.close()
    steps = [step for step, _ in in_tensorboard(killed, "train", "epoch_loss")]
    assert steps == [1, 2, 3]
    # MLflow marked the run as ended when the events were closed.
    (killed / "tracking.json").write_bytes((run / "tracking.json").read_bytes())
    assert [step for step, _ in in_mlflow(killed)] == [1, 2, 3]
    shutil.rmtree(run)
    *_, done = resume_run(killed, (), Session(("trainer", "resume")))
    assert isinstance(done, RunFinished)
    assert manifest(killed)["resumptions"][0]["epoch"] == 0
    assert done.weights_sha256 == untracked.weights_sha256
    check_curves(killed)
    assert histogram_steps(killed) == [2, 4]


@pytest.mark.slow
def test_each_member_of_a_pack_is_tracked(folder):
    overrides = ("fit.folds=2", "fit.epochs=3")
    done = run_members(folder / "config.yaml", folder / "several", *overrides, BOARD, store(folder))
    plain = run_members(folder / "config.yaml", folder / "several", *overrides)
    for tracked, member in zip(done.members, plain.members, strict=True):
        digests = [manifest(item.run)["weights_sha256"] for item in (tracked, member)]
        assert digests[0] == digests[1] is not None
        check_curves(tracked.run)
        assert histogram_steps(tracked.run) == [2]
    runs = {json.loads((member.run / "tracking.json").read_text())["mlflow"]["run_id"]
            for member in done.members}  # fmt: skip
    assert len(runs) == 2


@pytest.fixture
def silent():
    """Return the address of a server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    "which", slow_except(("full",), ("closed", "silent", "unwritable", "full"))
)
def test_failed_tracker_changes_nothing_and_warns_once(
    folder, untracked, silent, which, monkeypatch, caplog, tmp_path
):
    settings = {
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
            load_config(folder / "config.yaml", [settings.get(which, BOARD)]),
            Session(("trainer", "fit")),
            tmp_path,
            run_path=tmp_path,
        )
    assert done.weights_sha256 == untracked.weights_sha256
    assert done.metrics == untracked.metrics
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("trainer")]
    (text,) = logged
    name = "MLflow" if which in settings else "TensorBoard"
    assert text.startswith(f"{name} is disabled for the rest of this run: ")
    saved = manifest(done.run)
    assert saved["status"] == "finished"
    assert saved["warnings"] == [*manifest(untracked.run)["warnings"], text]
