import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.report.run_files import NOW, make_run, scores, settings
from trainer.errors import UsageError
from trainer.report.run_values import RUN_PROPERTIES, RequestedName, metric_names, read_run_values
from trainer.runs.listing import list_runs


def requested(*names: str) -> list[RequestedName]:
    return [RequestedName("--columns", name) for name in names]


def test_properties_metrics_and_settings(tmp_path: Path) -> None:
    run = make_run(tmp_path, evaluations=scores(auc=0.9, f1=None))
    (run.evaluation / "best.json").write_text('{"metrics": {"epoch": 1, "brier": NaN}}')
    run.write_evaluation("train", {"metrics": {"loss": 1}})
    run.write_evaluation("other", {"metrics": {"loss": 2}})
    names = requested("optimizer.learning_rate", "optimizer.clip_norm", 'data.columns."a.b".scale')
    (listed,) = read_run_values(list_runs(tmp_path, NOW), names, NOW + timedelta(hours=1))
    assert listed.values == {
        "status": "finished",
        "name": "wine",
        "run": str(run.path),
        "epochs": 20,
        "best_epoch": 12,
        "started": "2026-11-22T14:15:30+00:00",
        "seconds": 90.0,
        "age": 3600.0,
        "train_loss": 1.0,
        "val_auc": 0.9,
        "other_loss": 2.0,
        "optimizer.learning_rate": 1e-3,
        "optimizer.clip_norm": None,
        'data.columns."a.b".scale': "robust",
    }
    assert set(RUN_PROPERTIES) < set(listed.values)


def test_seconds_of_running_and_dead_runs(tmp_path: Path) -> None:
    now = NOW + timedelta(seconds=30)
    for index, end in enumerate((2**40, 0)):
        run = make_run(tmp_path, minutes=index)
        manifest = replace(run.read_manifest(), status="running", ended=None)
        process = manifest.process
        run.write_manifest(replace(manifest, process=replace(process, pid=process.pid + end)))
    running, dead = read_run_values(list_runs(tmp_path, now), [], now)
    assert (running.run.status, dead.run.status) == ("running", "dead")
    assert "seconds" not in dead.values
    assert running.values["seconds"] == -30.0  # it starts a minute later


def test_time_at_the_limit_of_the_calendar(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    value = json.loads(run.manifest.read_text())
    run.manifest.write_text(json.dumps({**value, "started": "0001-01-01T00:00:00+23:59"}))
    assert len(read_run_values(list_runs(tmp_path, NOW), [], NOW)) == 1


def test_config_is_read_only_if_requested(tmp_path: Path) -> None:
    make_run(tmp_path).config.write_text("{")
    (run,) = read_run_values(list_runs(tmp_path, NOW), requested("val_auc", "age")[1:], NOW)
    assert run.config_problems == ()
    assert run.run.problems == ()


def test_damaged_run_has_few_properties(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.manifest.write_text("{")
    (run,) = read_run_values(list_runs(tmp_path, NOW), [], NOW)
    assert set(run.values) == {"status", "name", "run", "started", "age"}


def test_unreadable_config_is_a_problem_of_its_run(tmp_path: Path) -> None:
    make_run(tmp_path)
    broken = make_run(tmp_path, minutes=1)
    broken.config.write_text("optimizer: [\n")
    first, second = read_run_values(list_runs(tmp_path, NOW), requested("optimizer.name"), NOW)
    assert "optimizer.name" not in first.values
    assert second.values["optimizer.name"] == "adam"
    assert first.config_problems == first.run.problems
    assert str(broken.config) in first.config_problems[0].where
    assert second.config_problems == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("val_acu", "val_auc"),
        ("statsu", "status"),
        ("optimizer.lr", "optimizer.learning_rate"),
        ("lr", "optimizer.learning_rate"),
        ("optimizer.nmae", "optimizer.name"),
        ("model.layers.0.dense.unit", "model.layers.0.dense.units"),
        ("model.layers.5.dense.units", "model.layers.0.dense.units"),
        ("auc", "val_auc"),
    ],
)
def test_unknown_name_has_a_suggestion(name: str, meant: str, tmp_path: Path) -> None:
    make_run(tmp_path, evaluations=scores(auc=0.9))
    with pytest.raises(UsageError) as raised:
        read_run_values(list_runs(tmp_path, NOW), requested("status", name, name), NOW)
    (problem,) = raised.value.problems
    assert problem.where == "--columns"
    assert problem.found == f"'{name}'"
    assert problem.fix == f"did you mean '{meant}'?"


@pytest.mark.parametrize("name", ["zzz", '"', "a..b", "", "model.layers.0.dense.units.x"])
def test_name_without_suggestion_has_a_fix(name: str, tmp_path: Path) -> None:
    make_run(tmp_path)
    with pytest.raises(UsageError) as raised:
        read_run_values(list_runs(tmp_path, NOW), requested(name), NOW)
    assert raised.value.problems[0].fix


def test_name_known_to_one_run_is_valid(tmp_path: Path) -> None:
    make_run(tmp_path)
    make_run(tmp_path, config=settings(optimizer={"name": "sgd", "momentum": 0.9}), minutes=1)
    names = requested("optimizer.momentum", "best_epoch")
    first, second = read_run_values(list_runs(tmp_path, NOW), names, NOW)
    assert first.values["optimizer.momentum"] == 0.9
    assert "optimizer.momentum" not in second.values


def test_every_name_is_valid_without_runs(tmp_path: Path) -> None:
    assert read_run_values([], requested("anything"), NOW) == []


def test_metric_names(tmp_path: Path) -> None:
    make_run(tmp_path, evaluations=scores(auc=0.9))
    make_run(tmp_path, evaluations={"test": {"metrics": {"f1": None}}}, minutes=1)
    assert metric_names(list_runs(tmp_path, NOW)) == {"val_auc": "auc", "test_f1": "f1"}
