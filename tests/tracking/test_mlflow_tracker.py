"""The tracked run as MLflow's own client reads it from a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tracking.conftest import log_epochs
from trainer.config.tracking import MLflow
from trainer.runs.manifest import GitState
from trainer.tracking.mlflow_tracker import ENVIRONMENT, MlflowTracker
from trainer.tracking.tracker import EpochLogs, RunEnd

DONE = RunEnd("finished", 2, {"test_auc": 0.5}, "ab12")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return str(tmp_path / "mlruns")


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(uri)


def epoch_logs(number: int) -> EpochLogs:
    return EpochLogs(number, 0.1, {"loss": 1 / number, "val_loss": 2 / number}, 1.7e9 + number)


def track(start: Any, uri: str, *epochs: EpochLogs, end: RunEnd | None = None) -> str:
    run = MlflowTracker(MLflow(uri=uri))
    run.on_run_start(start)
    for logs in epochs:
        run.on_epoch_end(logs)
    run.flush()
    if end is not None:
        run.on_run_end(end)
    run.close()
    number: str = start.run.read_tracking()["mlflow"]["run_id"]
    return number


def steps(uri: str, number: str, key: str = "loss") -> list[tuple[int, float]]:
    history = client(uri).get_metric_history(number, key)
    return sorted((point.step, point.value) for point in history)


@pytest.mark.parametrize(
    ("store", "artifacts"),
    [
        ("{}/mlruns", "mlruns/{experiment}/{number}/artifacts"),
        # MLflow takes seconds to create a database.
        pytest.param("sqlite:///{}/m.db", "mlartifacts/{number}/artifacts", marks=pytest.mark.slow),
    ],
)
def test_run_is_stored_with_settings_metrics_and_artifacts(
    start: Callable, tmp_path: Path, store: str, artifacts: str
) -> None:
    uri = store.format(tmp_path)
    started = start("name: wine\noptimizer: {learning_rate: 0.25}\n")
    object.__setattr__(started.manifest, "git", GitState("c0ffee", dirty=True))
    started.run.write_evaluation("test", {"metrics": {"auc": 0.5}})
    started.run.write_report("<html>")
    started.run.write_decisions({})
    started.run.best.mkdir(parents=True)
    (started.run.best / "model.keras").write_bytes(b"weights")
    number = track(started, uri, epoch_logs(1), epoch_logs(2), end=DONE)
    stored = client(uri).get_run(number)
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == started.run.path.name
    assert client(uri).get_experiment(stored.info.experiment_id).name == "wine"
    assert stored.data.params["optimizer.learning_rate"] == "0.25"
    assert stored.data.params["fit.batch_size"] == "32"
    assert stored.data.metrics["test_auc"] == 0.5
    assert steps(uri, number) == [(1, 1.0), (2, 0.5)]
    assert steps(uri, number, "learning_rate") == [(1, 0.1), (2, 0.1)]
    tags = stored.data.tags
    assert tags["trainer.run"] == str(started.run.path)
    assert tags["trainer.weights_sha256"] == "ab12"
    assert tags["mlflow.source.git.commit"] == "c0ffee"
    assert tags["mlflow.source.name"] == "trainer fit"
    listed = {artifact.path for artifact in client(uri).list_artifacts(number)}
    texts = {"config.yaml", "manifest.json", "decisions.json", "report.html"}
    assert listed == {*texts, "evaluation", "model"}
    folder = tmp_path / artifacts.format(experiment=stored.info.experiment_id, number=number)
    assert (folder / "model" / "model.keras").read_bytes() == b"weights"
    assert (folder / "evaluation" / "test.json").is_file()


def test_resumed_run_logs_each_step_once(start: Callable, uri: str) -> None:
    number = track(start(), uri, *map(epoch_logs, range(1, 7)), end=RunEnd("stopped", 1, {}, None))
    assert client(uri).get_run(number).info.status == "KILLED"
    # From the checkpoint of epoch 3: epochs 4 to 6 are trained a second time.
    again = track(start(epochs=3), uri, *map(epoch_logs, range(4, 9)), end=DONE)
    assert again == number
    assert [step for step, _ in steps(uri, number)] == list(range(1, 9))
    assert client(uri).get_run(number).info.status == "FINISHED"


def test_epochs_lost_by_a_killed_process_are_logged(start: Callable, uri: str) -> None:
    number = track(start(), uri, epoch_logs(1), epoch_logs(2))
    started = start(epochs=5)
    assert track(started, uri, epoch_logs(6)) == number
    assert [step for step, _ in steps(uri, number)] == [1, 2, 3, 4, 5, 6]


def test_epochs_logged_at_the_start_are_not_repeated(start: Callable, uri: str) -> None:
    started = start(epochs=2)
    log_epochs(started.run, range(3, 5))
    number = track(started, uri, epoch_logs(3), epoch_logs(4), epoch_logs(5))
    assert [step for step, _ in steps(uri, number)] == [1, 2, 3, 4, 5]


def test_changed_setting_becomes_a_tag(start: Callable, uri: str) -> None:
    number = track(start("fit: {epochs: 2}"), uri, epoch_logs(1))
    track(start("fit: {epochs: 9}", epochs=1), uri)
    stored = client(uri).get_run(number).data
    assert stored.params["fit.epochs"] == "2"
    assert stored.tags["trainer.changed.fit.epochs"] == "2 → 9"


@pytest.mark.parametrize("case", ["deleted", "unknown id", "other store", "other content"])
def test_run_missing_from_the_store_is_created_again(start: Callable, uri: str, case: str) -> None:
    started = start()
    number = track(started, uri, epoch_logs(1))
    other = {"uri": uri, "run_id": number}
    match case:
        case "deleted":
            client(uri).delete_run(number)
        case "unknown id":
            started.run.write_tracking({"mlflow": {**other, "run_id": "f" * 32}})
        case "other store":
            started.run.write_tracking({"mlflow": {**other, "uri": "http://other"}})
        case _:
            started.run.write_tracking({"another": 1})
    again = track(start(epochs=3), uri, epoch_logs(4))
    assert again != number
    assert [step for step, _ in steps(uri, again)] == [1, 2, 3, 4]


def test_metrics_are_sent_in_batches_within_mlflow_limits(start: Callable, uri: str) -> None:
    run = MlflowTracker(MLflow(uri=uri, experiment="own name"))
    started = start()
    run.on_run_start(started)
    sizes = []
    log_batch = run._client.log_batch
    run._client.log_batch = lambda number, metrics: (
        sizes.append(len(metrics)) or log_batch(number, metrics)
    )
    for number in range(1, 701):
        run.on_epoch_end(epoch_logs(number))
    run.flush()
    assert max(sizes) <= 1000
    assert all(size % 3 == 0 for size in sizes)  # an epoch is never split
    number = started.run.read_tracking()["mlflow"]["run_id"]
    assert len(steps(uri, number)) == 700
    assert client(uri).get_experiment_by_name("own name") is not None


def test_special_characters_in_setting_names(start: Callable, uri: str) -> None:
    text = "fit: {class_weight: {'ü (%) \"x\"': 2.0, 'no': 1.0}}\n"
    number = track(start(text), uri)
    params = client(uri).get_run(number).data.params
    assert [value for name, value in params.items() if "class_weight" in name] == ["1.0", "2.0"]


def test_member_name_includes_the_run(start: Callable, uri: str, tmp_path: Path) -> None:
    from trainer.runs.directory import RunDirectory

    started = start()
    member = RunDirectory.open_or_create(started.run.path / "members" / "0002")
    object.__setattr__(started, "run", member)
    number = track(started, uri)
    assert client(uri).get_run(number).info.run_name == "20261122-141530-9f3c/0002"


def test_nan_is_logged(start: Callable, uri: str) -> None:
    number = track(start(), uri, EpochLogs(1, 0.1, {"loss": 1.0, "val_auc": float("nan")}, 0.0))
    ((_, value),) = steps(uri, number, "val_auc")
    assert value != value
