from pathlib import Path

from trainer.runs.search import find_runs, is_run


def run_at(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "manifest.json").touch()
    return path


def test_runs_are_found_among_foreign_things(tmp_path: Path) -> None:
    runs = [run_at(tmp_path / "a" / "1"), run_at(tmp_path / "a" / "2"), run_at(tmp_path / "b")]
    run_at(tmp_path / "too" / "deep" / "down")
    (tmp_path / "a" / "file").touch()
    (tmp_path / "a" / "empty").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "config.yaml").touch()
    assert list(find_runs(tmp_path)) == runs
    assert list(find_runs(tmp_path / "a")) == runs[:2]
    assert list(find_runs(tmp_path / "b")) == [tmp_path / "b"]
    assert list(find_runs(tmp_path / "gone")) == []
    assert list(find_runs(tmp_path / "config.yaml")) == []


def test_a_linked_folder_is_followed_and_a_linked_run_is_not_found_twice(tmp_path: Path) -> None:
    run = run_at(tmp_path / "disk" / "wine" / "1")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "wine").symlink_to(run.parent)
    (runs / "latest").symlink_to(run)
    (run.parent / "latest").symlink_to(run)
    assert list(find_runs(runs)) == [runs / "wine" / "1"]


def test_a_config_alone_makes_no_run(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    assert not is_run(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert is_run(tmp_path)


def test_a_run_with_members_is_one_run_and_they_are_found_in_their_folder(tmp_path: Path) -> None:
    run = run_at(tmp_path / "runs" / "wine" / "1")
    members = [run_at(run / "members" / name) for name in ("0000", "0001")]
    assert list(find_runs(tmp_path / "runs")) == [run]
    assert list(find_runs(run / "members")) == members
    (run / "manifest.json").unlink()
    (run / "config.yaml").touch()
    assert list(find_runs(tmp_path / "runs")) == [run]


def test_trials_are_found_in_their_sweep(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    trials = [run_at(tmp_path / "trials" / name) for name in ("0000", "0001")]
    assert list(find_runs(tmp_path)) == trials
