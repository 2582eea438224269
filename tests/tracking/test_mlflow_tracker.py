"""What MLflow's own client reads out of a store."""

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


def epoch(number: int) -> EpochLogs:
    return EpochLogs(number, 0.1, {"loss": 1 / number, "val_loss": 2 / number}, 1.7e9 + number)


def tell(start: Any, uri: str, *epochs: EpochLogs, end: RunEnd | None = None) -> str:
    run = MlflowTracker(MLflow(uri=uri))
    run.started(start)
    for one in epochs:
        run.epoch(one)
    run.flush()
    if end is not None:
        run.finished(end)
    run.close()
    number: str = start.run.read_tracking()["mlflow"]["run_id"]
    return number


def steps(uri: str, number: str, key: str = "loss") -> list[tuple[int, float]]:
    history = client(uri).get_metric_history(number, key)
    return sorted((one.step, one.value) for one in history)


@pytest.mark.parametrize(
    ("store", "artifacts"),
    [
        ("{}/mlruns", "mlruns/{experiment}/{number}/artifacts"),
        # MLflow takes seconds to make a database.
        pytest.param("sqlite:///{}/m.db", "mlartifacts/{number}/artifacts", marks=pytest.mark.slow),
    ],
)
def test_a_run_with_all_that_is_told_of_it(
    start: Callable, tmp_path: Path, store: str, artifacts: str
) -> None:
    uri = store.format(tmp_path)
    begun = start("name: wine\noptimizer: {learning_rate: 0.25}\n")
    object.__setattr__(begun.manifest, "git", GitState("c0ffee", dirty=True))
    begun.run.write_evaluation("test", {"metrics": {"auc": 0.5}})
    begun.run.write_report("<html>")
    begun.run.write_decisions({})
    begun.run.best.mkdir(parents=True)
    (begun.run.best / "model.keras").write_bytes(b"weights")
    number = tell(begun, uri, epoch(1), epoch(2), end=DONE)
    found = client(uri).get_run(number)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == begun.run.path.name
    assert client(uri).get_experiment(found.info.experiment_id).name == "wine"
    assert found.data.params["optimizer.learning_rate"] == "0.25"
    assert found.data.params["fit.batch_size"] == "32"
    assert found.data.metrics["test_auc"] == 0.5
    assert steps(uri, number) == [(1, 1.0), (2, 0.5)]
    assert steps(uri, number, "learning_rate") == [(1, 0.1), (2, 0.1)]
    tags = found.data.tags
    assert tags["trainer.run"] == str(begun.run.path)
    assert tags["trainer.weights_sha256"] == "ab12"
    assert tags["mlflow.source.git.commit"] == "c0ffee"
    assert tags["mlflow.source.name"] == "trainer fit"
    listed = {one.path for one in client(uri).list_artifacts(number)}
    texts = {"config.yaml", "manifest.json", "decisions.json", "report.html"}
    assert listed == {*texts, "evaluation", "model"}
    folder = tmp_path / artifacts.format(experiment=found.info.experiment_id, number=number)
    assert (folder / "model" / "model.keras").read_bytes() == b"weights"
    assert (folder / "evaluation" / "test.json").is_file()


def test_a_resumed_run_is_the_same_with_every_step_once(start: Callable, uri: str) -> None:
    number = tell(start(), uri, *map(epoch, range(1, 7)), end=RunEnd("stopped", 1, {}, None))
    assert client(uri).get_run(number).info.status == "KILLED"
    # From the checkpoint of epoch 3: epochs 4 to 6 are trained a second time.
    again = tell(start(epochs=3), uri, *map(epoch, range(4, 9)), end=DONE)
    assert again == number
    assert [step for step, _ in steps(uri, number)] == list(range(1, 9))
    assert client(uri).get_run(number).info.status == "FINISHED"


def test_epochs_that_a_killed_process_did_not_tell_of_are_told(start: Callable, uri: str) -> None:
    number = tell(start(), uri, epoch(1), epoch(2))
    begun = start(epochs=5)
    assert tell(begun, uri, epoch(6)) == number
    assert [step for step, _ in steps(uri, number)] == [1, 2, 3, 4, 5, 6]


def test_what_is_logged_while_it_starts_is_not_told_twice(start: Callable, uri: str) -> None:
    begun = start(epochs=2)
    log_epochs(begun.run, range(3, 5))
    number = tell(begun, uri, epoch(3), epoch(4), epoch(5))
    assert [step for step, _ in steps(uri, number)] == [1, 2, 3, 4, 5]


def test_a_changed_setting_is_a_tag(start: Callable, uri: str) -> None:
    number = tell(start("fit: {epochs: 2}"), uri, epoch(1))
    tell(start("fit: {epochs: 9}", epochs=1), uri)
    found = client(uri).get_run(number).data
    assert found.params["fit.epochs"] == "2"
    assert found.tags["trainer.changed.fit.epochs"] == "2 → 9"


@pytest.mark.parametrize("gone", ["deleted", "never there", "elsewhere", "unknown"])
def test_a_run_that_the_store_no_longer_has_is_made_anew(
    start: Callable, uri: str, gone: str
) -> None:
    begun = start()
    number = tell(begun, uri, epoch(1))
    other = {"uri": uri, "run_id": number}
    match gone:
        case "deleted":
            client(uri).delete_run(number)
        case "never there":
            begun.run.write_tracking({"mlflow": {**other, "run_id": "f" * 32}})
        case "elsewhere":
            begun.run.write_tracking({"mlflow": {**other, "uri": "http://other"}})
        case _:
            begun.run.write_tracking({"another": 1})
    again = tell(start(epochs=3), uri, epoch(4))
    assert again != number
    assert [step for step, _ in steps(uri, again)] == [1, 2, 3, 4]


def test_many_epochs_go_in_calls_that_mlflow_takes(start: Callable, uri: str) -> None:
    run = MlflowTracker(MLflow(uri=uri, experiment="own name"))
    begun = start()
    run.started(begun)
    sizes = []
    log_batch = run._client.log_batch
    run._client.log_batch = lambda number, metrics: (
        sizes.append(len(metrics)) or log_batch(number, metrics)
    )
    for number in range(1, 701):
        run.epoch(epoch(number))
    run.flush()
    assert max(sizes) <= 1000
    assert all(size % 3 == 0 for size in sizes)  # an epoch is never cut
    number = begun.run.read_tracking()["mlflow"]["run_id"]
    assert len(steps(uri, number)) == 700
    assert client(uri).get_experiment_by_name("own name") is not None


def test_odd_names_of_settings_are_taken(start: Callable, uri: str) -> None:
    text = "fit: {class_weight: {'ü (%) \"x\"': 2.0, 'no': 1.0}}\n"
    number = tell(start(text), uri)
    params = client(uri).get_run(number).data.params
    assert [value for name, value in params.items() if "class_weight" in name] == ["1.0", "2.0"]


def test_a_member_is_called_by_the_whole(start: Callable, uri: str, tmp_path: Path) -> None:
    from trainer.runs.directory import RunDirectory

    begun = start()
    member = RunDirectory.at(begun.run.path / "members" / "0002")
    object.__setattr__(begun, "run", member)
    number = tell(begun, uri)
    assert client(uri).get_run(number).info.run_name == "20261122-141530-9f3c/0002"


def test_nan_is_told(start: Callable, uri: str) -> None:
    number = tell(start(), uri, EpochLogs(1, 0.1, {"loss": 1.0, "val_auc": float("nan")}, 0.0))
    ((_, value),) = steps(uri, number, "val_auc")
    assert value != value
