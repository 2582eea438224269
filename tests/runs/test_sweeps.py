from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainer.errors import Problem, RunError
from trainer.runs.sweeps import SweepDirectory, find_sweeps, is_sweep

NOW = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)


def make_sweep(root: Path, name: str = "credit", minutes: int = 0) -> SweepDirectory:
    return SweepDirectory.create(root, name, "seed: 1\n", NOW + timedelta(minutes=minutes))


def test_create_writes_the_config(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "sweeps")
    assert sweep.path.parent == tmp_path / "sweeps" / "credit"
    assert sweep.path.name.startswith("20261124-083000-")
    assert sweep.config.read_text() == "seed: 1\n"
    assert sweep.config.name == "sweep.yaml"
    assert sweep.journal == sweep.path / "journal.jsonl"
    assert sweep.trial(12) == sweep.path / "trials" / "12"
    assert sweep.lock == sweep.path / "lock"
    assert make_sweep(tmp_path / "sweeps").path != sweep.path


def test_remove_leftovers(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path)
    left = sweep.path / ".sweep.yaml.0a1b2c3d.new"
    left.touch()
    sweep.remove_leftovers()
    assert sorted(sweep.path.iterdir()) == [sweep.config]


def test_open_by_a_path_inside_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make_sweep(tmp_path)
    sweep.trial(3).mkdir(parents=True)
    for path in (sweep.path, sweep.config, sweep.trials, sweep.trial(3)):
        assert SweepDirectory.open(path) == sweep
    monkeypatch.chdir(sweep.path)
    assert SweepDirectory.open(Path()) == SweepDirectory(Path())
    assert SweepDirectory.open(Path("trials/3")) == SweepDirectory(Path())
    monkeypatch.chdir(sweep.trial(3))
    assert SweepDirectory.open(Path()) == sweep


def open_error(path: Path) -> Problem:
    with pytest.raises(RunError) as raised:
        SweepDirectory.open(path)
    (problem,) = raised.value.problems
    assert problem.where == str(path)
    assert problem.expected == "a sweep directory"
    return problem


def test_open_error_suggests_a_similar_sweep(tmp_path: Path) -> None:
    assert open_error(tmp_path).fix == "start one with `trainer sweep CONFIG`"
    assert open_error(tmp_path).found == "a directory without a sweep.yaml"
    root = tmp_path / "sweeps"
    first, second = make_sweep(root), make_sweep(root, "wine", minutes=1)
    assert open_error(root).found == "a folder with 2 sweeps"
    assert open_error(root).fix == f"choose one of them; the newest is {second.path}"
    assert open_error(root / "credit").found == "a folder with 1 sweep"
    assert open_error(root / "credt").fix == f"did you mean '{first.path}'?"
    assert open_error(root / "zzz").fix == f"the newest sweep is {second.path}"
    assert open_error(tmp_path / "sweeps.csv").found == "no such path"
    table = tmp_path / "x.csv"
    table.touch()
    assert open_error(table).found == "a file outside any sweep"
    assert open_error(table).fix == f"the newest sweep is {second.path}"


def test_find_sweeps(tmp_path: Path) -> None:
    assert list(find_sweeps(tmp_path / "none")) == []
    first, second = make_sweep(tmp_path), make_sweep(tmp_path, "b")
    (tmp_path / "link").symlink_to(first.path)
    assert list(find_sweeps(tmp_path)) == sorted([first.path, second.path])
    assert list(find_sweeps(first.path)) == [first.path]
    assert is_sweep(first.path)
    assert not is_sweep(tmp_path)
