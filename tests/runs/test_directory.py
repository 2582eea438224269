import errno
import os
import shutil
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from trainer.errors import RunError, StorageError
from trainer.runs.checkpoints import write_checkpoint
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Evaluation
from trainer.runs.manifest import new_manifest

NOW = datetime(2026, 11, 22, 14, 15, 30, tzinfo=UTC)


def start_run(root: Path, name: str = "wine", now: datetime = NOW) -> RunDirectory:
    run = RunDirectory.create(root, name, "seed: 7\n", now)
    run.write_config("seed: 7\n")
    run.write_manifest(
        new_manifest(name=name, command=["fit"], seed=7, config_directory=root, now=now)
    )
    return run


def with_checkpoint(run: RunDirectory, name: str = "best") -> RunDirectory:
    write_checkpoint(run.checkpoint(name), lambda path: path.touch(), {}, {})
    return run


def test_create_names_the_run_by_experiment_and_time(tmp_path: Path) -> None:
    berlin = NOW.astimezone(timezone(timedelta(hours=1)))
    run = RunDirectory.create(tmp_path / "runs", "wine", "seed: 7\n", berlin)
    assert run.path.parent == tmp_path / "runs" / "wine"
    assert run.path.name[:16] == "20261122-141530-"
    assert len(run.path.name) == 20
    assert list(run.path.iterdir()) == []


def test_runs_created_at_the_same_time_have_distinct_names(tmp_path: Path) -> None:
    runs = {RunDirectory.create(tmp_path, "wine", "seed: 7\n", NOW).path for _ in range(50)}
    assert len(runs) == 50
    assert len(list((tmp_path / "wine").iterdir())) == 50


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/tmp"])
def test_names_with_path_separators_are_rejected(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        RunDirectory.create(tmp_path, name, "", NOW)
    run = RunDirectory(tmp_path)
    with pytest.raises(ValueError, match="component"):
        run.write_evaluation(name, {})
    with pytest.raises(ValueError, match="component"):
        run.checkpoint(name)


def test_create_under_a_file_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "inner"):
        with pytest.raises(RunError) as raised:
            RunDirectory.create(root, "wine", "", NOW)
        assert raised.value.exit_code == 2
        assert raised.value.problems[0].fix


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_create_without_permission_is_an_input_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="write permission"):
        RunDirectory.create(tmp_path / "runs", "wine", "", NOW)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs /sys")
def test_create_on_a_read_only_file_system_is_an_input_error() -> None:
    with pytest.raises(RunError, match=r"E(ACCES|PERM|ROFS)"):
        RunDirectory.create(Path("/sys/kernel/runs"), "wine", "", NOW)


def test_written_files_are_read_back(tmp_path: Path) -> None:
    run = start_run(tmp_path)
    run.write_preprocessing({"columns": [{"name": "ü"}]})
    run.write_splits(b"PAR1")
    run.write_evaluation("test", {"metrics": {"auc": float("nan")}})
    run.write_evaluation("validation", {"metrics": {"auc": 0.5}})
    run.write_evaluation("other", {"metrics": {}})
    run.write_report("<html>")
    assert run.config.read_text() == "seed: 7\n"
    assert run.read_preprocessing() == {"columns": [{"name": "ü"}]}
    assert run.read_splits() == b"PAR1"
    assert list(run.read_evaluations()) == ["validation", "test", "other"]
    assert run.read_evaluations()["test"] == Evaluation({"auc": None})
    run.write_predictions("validation.parquet", b"PAR1")
    assert run.read_predictions("validation.parquet") == b"PAR1"
    assert run.read_manifest().name == "wine"
    assert sorted(path.name for path in run.path.iterdir()) == [
        "config.yaml",
        "evaluation",
        "manifest.json",
        "predictions",
        "preprocessing.json",
        "report.html",
        "splits.parquet",
    ]


def test_deleted_run_is_not_recreated(tmp_path: Path) -> None:
    run = start_run(tmp_path)
    shutil.rmtree(run.path)
    for write in (
        lambda: run.write_evaluation("test", {}),
        lambda: run.write_config(""),
        lambda: with_checkpoint(run),
        lambda: run.write_predictions("validation.parquet", b""),
    ):
        with pytest.raises(StorageError, match=errno.errorcode[errno.ENOENT]):
            write()
    assert not run.path.exists()


def test_missing_file(tmp_path: Path) -> None:
    run = start_run(tmp_path)
    with pytest.raises(RunError, match=r"preprocessing.json.*no such file"):
        run.read_preprocessing()
    assert run.read_evaluations() == {}


def test_remove_leftovers(tmp_path: Path) -> None:
    run = with_checkpoint(start_run(tmp_path))
    run.write_evaluation("test", {})
    run.write_predictions("test.parquet", b"")
    for _ in range(3):
        write_checkpoint(run.last, Path.touch, {}, {}, keep=3)
    before = {*run.path.rglob("*")} - {*run.checkpoint("last-2").rglob("*")}
    (run.path / ".manifest.json.01234567.new").touch()
    (run.evaluation / ".test.json.01234567.new").touch()
    (run.predictions / ".test.parquet.01234567.new").touch()
    for name in ("last.new", "best.new", "best-1"):
        run.checkpoint(name).mkdir()
        (run.checkpoint(name) / "state.npz").touch()
    run.remove_leftovers(keep=2)
    assert {*run.path.rglob("*")} == before - {run.checkpoint("last-2")}
