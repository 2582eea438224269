"""Paths that the user types are resolved to runs and checkpoints."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.runs.test_directory import NOW, start_run, with_checkpoint
from trainer.errors import RunError
from trainer.runs.checkpoints import write_checkpoint
from trainer.runs.opening import open_run


@pytest.mark.parametrize(
    ("inside", "checkpoint"),
    [
        ("", None),
        ("config.yaml", None),
        ("checkpoints", None),
        ("checkpoints/best", "best"),
        ("checkpoints/best/model.keras", "best"),
        ("checkpoints/../checkpoints/best", "best"),
    ],
)
def test_path_inside_a_run(tmp_path: Path, inside: str, checkpoint: str | None) -> None:
    run = with_checkpoint(start_run(tmp_path))
    opened = open_run(run.path / inside)
    assert opened.run.path == run.path
    assert opened.checkpoint == checkpoint


def test_relative_path_stays_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = with_checkpoint(start_run(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    relative = run.path.relative_to(tmp_path)
    assert open_run(relative).run.path == relative
    assert open_run(relative / "checkpoints" / "best").run.path == relative
    monkeypatch.chdir(run.path)
    assert open_run(Path()).run.path == Path()
    monkeypatch.chdir(run.best)
    opened = open_run(Path())
    assert opened.checkpoint == "best"
    assert opened.run.path.samefile(run.path)
    assert open_run(Path("model.keras")).run.path.samefile(run.path)
    assert open_run(Path("../..")).run.path.samefile(run.path)


def test_linked_run(tmp_path: Path) -> None:
    run = start_run(tmp_path / "runs")
    link = tmp_path / "latest"
    link.symlink_to(run.path)
    assert open_run(link).run.path == link


def test_checkpoint_of_an_interrupted_replacement(tmp_path: Path) -> None:
    run = with_checkpoint(start_run(tmp_path))
    run.best.rename(run.best.with_name("best-1"))
    assert open_run(run.best).checkpoint == "best"
    assert run.has_checkpoint("best")
    assert not run.has_checkpoint("last")


def test_missing_checkpoint_error_lists_existing_ones(tmp_path: Path) -> None:
    run = start_run(tmp_path)
    with pytest.raises(RunError, match="it has none"):
        open_run(run.last)
    with_checkpoint(run)
    with pytest.raises(RunError, match="it has best"):
        open_run(run.last)
    with pytest.raises(RunError, match=r"did you mean 'best'\?"):
        open_run(run.path / "checkpoints" / "bst")
    with pytest.raises(RunError, match=f"use the run directory: {run.path}"):
        open_run(run.path / "confg.yaml")
    with pytest.raises(RunError, match="no such file in the run"):
        open_run(run.best / "weights.h5")


def test_previous_checkpoints(tmp_path: Path) -> None:
    run = start_run(tmp_path)
    for _ in range(3):
        write_checkpoint(run.last, Path.touch, {}, {}, keep=3)
    for name in ("last.new", "best.new", "last-x", "mine"):
        run.checkpoint(name).mkdir()
    assert run.checkpoint_names() == ("last", "last-1", "last-2")
    with_checkpoint(run)
    assert run.checkpoint_names() == ("last", "best", "last-1", "last-2")
    assert open_run(run.path / "checkpoints" / "last-1").checkpoint == "last-1"
    assert open_run(run.path / "checkpoints" / "last-2" / "model.keras").checkpoint == "last-2"
    assert run.has_checkpoint("last-2")
    for name in ("last-3", "last.new", "mine", ".."):
        with pytest.raises(RunError, match=r"did you mean 'last|it has last|no such file|run dir"):
            open_run(run.path / "checkpoints" / name / "model.keras")


def test_folder_of_runs_error_names_the_newest(tmp_path: Path) -> None:
    start_run(tmp_path / "runs")
    newest = start_run(tmp_path / "runs", now=NOW + timedelta(days=1))
    for folder in (tmp_path / "runs" / "wine", tmp_path / "runs"):
        with pytest.raises(RunError, match="a folder with 2 runs") as raised:
            open_run(folder)
        assert raised.value.problems[0].where == str(folder)
        assert str(newest.path) in raised.value.problems[0].fix


def test_missing_run_error_suggests_a_similar_one(tmp_path: Path) -> None:
    old = start_run(tmp_path / "runs")
    newest = start_run(tmp_path / "runs", name="digits", now=NOW + timedelta(days=1))
    for path, similar in (
        (old.path.with_name(old.path.name[:-1]), old),
        (old.path.with_name(old.path.name + "0"), old),
        (tmp_path / "runs" / "win", old),
        (tmp_path / "digit", newest),
        (tmp_path / "runs" / "zzz", newest),
        (tmp_path / "nowhere" / "at" / "all", newest),
    ):
        with pytest.raises(RunError, match="found no such path") as raised:
            open_run(path)
        assert str(similar.path) in raised.value.problems[0].fix


def test_path_that_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "config.yaml").touch()
    with pytest.raises(RunError, match="without a manifest"):
        open_run(tmp_path / "empty")
    with pytest.raises(RunError, match="without a manifest"):
        open_run(tmp_path)
    with pytest.raises(RunError, match="a file outside any run"):
        open_run(tmp_path / "config.yaml")
    with pytest.raises(RunError, match="trainer ls"):
        open_run(tmp_path / "gone")


def test_run_without_manifest(tmp_path: Path) -> None:
    run = with_checkpoint(start_run(tmp_path))
    run.manifest.unlink()
    assert open_run(run.path).run == run
    with pytest.raises(RunError, match="no such file"):
        run.read_manifest()
