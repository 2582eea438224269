from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Interval
from trainer.runs.listing import list_runs
from trainer.runs.lock import RunLock
from trainer.runs.manifest import new_manifest
from trainer.runs.process import this_process

NOW = datetime(2026, 11, 22, 14, 15, 30, tzinfo=UTC)


def start_run(root: Path, name: str, now: datetime) -> RunDirectory:
    run = RunDirectory.create(root, name, "", now)
    run.write_manifest(
        new_manifest(name=name, command=["fit"], seed=7, config_directory=root, now=now)
    )
    return run


def test_runs_are_sorted_newest_first(tmp_path: Path) -> None:
    first = start_run(tmp_path, "wine", NOW)
    second = start_run(tmp_path, "digits", NOW + timedelta(hours=1))
    third = start_run(tmp_path, "wine", NOW + timedelta(hours=2))
    first.write_manifest(first.read_manifest().with_end("finished", NOW))
    first.write_evaluation("test", {"metrics": {"accuracy": 1, "auc": None}, "of_later": 1})
    first.write_evaluation("validation", {"metrics": {"accuracy": 0.5}})
    runs = list_runs(tmp_path, NOW)
    assert [run.path for run in runs] == [third.path, second.path, first.path]
    assert [run.name for run in runs] == ["wine", "digits", "wine"]
    assert [run.status for run in runs] == ["running", "running", "finished"]
    assert runs[2].metrics == {
        "validation": {"accuracy": 0.5},
        "test": {"accuracy": 1.0, "auc": None},
    }
    assert runs[0].metrics == {}
    assert all(run.problems == () for run in runs)


def test_empty_or_missing_folder(tmp_path: Path) -> None:
    assert list_runs(tmp_path, NOW) == []
    assert list_runs(tmp_path / "gone", NOW) == []


def test_damaged_runs(tmp_path: Path) -> None:
    whole = start_run(tmp_path, "wine", NOW)
    damaged = start_run(tmp_path, "wine", NOW + timedelta(hours=1))
    damaged.manifest.write_text("{")
    (tmp_path / "wine" / "foreign").mkdir()
    (tmp_path / "wine" / "foreign" / "manifest.json").write_text('{"name": "an extension"}')
    whole.write_evaluation("test", {"metrics": "none"})
    (whole.evaluation / "validation.json").write_text("{")
    (whole.evaluation / "train.json").mkdir()
    (whole.evaluation / "deep.json").write_text("[" * 100_000)
    whole.write_evaluation("large", {"metrics": {"auc": 10**400}})
    listed = list_runs(tmp_path, NOW)
    assert [run.status for run in listed] == ["damaged", "running", "damaged"]
    assert [run.name for run in listed] == ["wine", "wine", "wine"]
    assert [run.started for run in listed] == [NOW + timedelta(hours=1), NOW, None]
    assert [len(run.problems) for run in listed] == [1, 5, 1]
    assert listed[0].problems[0].where == str(damaged.manifest)


def test_status_of_a_run_on_another_host_follows_its_lock(tmp_path: Path) -> None:
    run = start_run(tmp_path, "wine", NOW)
    elsewhere = replace(this_process(), host="elsewhere")
    run.write_manifest(replace(run.read_manifest(), process=elsewhere))
    late = datetime.now(UTC) + timedelta(seconds=30)
    later = late + timedelta(seconds=600)
    run.write_manifest(replace(run.read_manifest(), heartbeat=late - timedelta(days=1)))
    assert list_runs(tmp_path, late)[0].status == "dead"
    with RunLock(run.lock):
        assert list_runs(tmp_path, late)[0].status == "running"
        assert list_runs(tmp_path, later)[0].status == "dead"


def test_epochs_of_a_run_in_training_come_from_its_log(tmp_path: Path) -> None:
    run = start_run(tmp_path, "wine", NOW)
    run.metrics.write_text('{"epoch": 1}\n{"epoch": 2}\n')
    (listed,) = list_runs(tmp_path, NOW)
    assert listed.manifest is not None
    assert listed.manifest.epochs == 2


def test_intervals_of_a_run_with_members(tmp_path: Path) -> None:
    run = start_run(tmp_path, "wine", NOW)
    several = {"mean": 0.8, "std": 0.1, "low": 0.7, "high": 0.9, "n": 5}
    single = {"mean": 0.8, "std": None, "low": None, "high": None, "n": 1}
    none = {"mean": None, "std": None, "low": None, "high": None, "n": 0}
    metrics = {"auc": 0.8, "f1": 0.8, "r2": None}
    run.write_evaluation(
        "test", {"metrics": metrics, "intervals": {"auc": several, "f1": single, "r2": none}}
    )
    run.write_evaluation("validation", {"metrics": metrics, "intervals": {"auc": {"mean": 1}}})
    run.write_evaluation("train", {"metrics": metrics})
    (listed,) = list_runs(tmp_path, NOW)
    assert listed.intervals == {
        "train": {},
        "test": {
            "auc": Interval(0.8, 0.1, 0.7, 0.9, 5),
            "f1": Interval(0.8, None, None, None, 1),
        },
    }
    assert set(listed.metrics) == {"train", "test"}
    (problem,) = listed.problems
    assert problem.where == str(run.evaluation / "validation.json")
    assert problem.expected == "'std' for 'intervals'"
