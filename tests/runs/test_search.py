from pathlib import Path

from trainer.runs.search import find_runs, is_run


def make_run(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "manifest.json").touch()
    return path


def test_find_runs_skips_other_files(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "a" / "1"),
        make_run(tmp_path / "a" / "2"),
        make_run(tmp_path / "b"),
    ]
    make_run(tmp_path / "too" / "deep" / "down")
    (tmp_path / "a" / "file").touch()
    (tmp_path / "a" / "empty").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "config.yaml").touch()
    assert list(find_runs(tmp_path)) == runs
    assert list(find_runs(tmp_path / "a")) == runs[:2]
    assert list(find_runs(tmp_path / "b")) == [tmp_path / "b"]
    assert list(find_runs(tmp_path / "gone")) == []
    assert list(find_runs(tmp_path / "config.yaml")) == []


def test_linked_folders_are_followed_but_linked_runs_are_not(tmp_path: Path) -> None:
    run = make_run(tmp_path / "disk" / "wine" / "1")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "wine").symlink_to(run.parent)
    (runs / "latest").symlink_to(run)
    (run.parent / "latest").symlink_to(run)
    assert list(find_runs(runs)) == [runs / "wine" / "1"]


def test_directory_with_only_a_config_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    assert not is_run(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert is_run(tmp_path)


def test_members_are_found_in_their_folder_only(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "wine" / "1")
    members = [make_run(run / "members" / name) for name in ("0000", "0001")]
    assert list(find_runs(tmp_path / "runs")) == [run]
    assert list(find_runs(run / "members")) == members
    (run / "manifest.json").unlink()
    (run / "config.yaml").touch()
    assert list(find_runs(tmp_path / "runs")) == [run]


def test_trials_are_found_in_their_sweep(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    trials = [make_run(tmp_path / "trials" / name) for name in ("0000", "0001")]
    assert list(find_runs(tmp_path)) == trials
