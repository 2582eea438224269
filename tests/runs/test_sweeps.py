from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainer.errors import Problem, RunError
from trainer.runs.sweeps import SweepDirectory, find_sweeps, is_sweep

NOW = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)


def made(root: Path, name: str = "credit", minutes: int = 0) -> SweepDirectory:
    return SweepDirectory.create(root, name, "seed: 1\n", NOW + timedelta(minutes=minutes))


def test_a_sweep_is_made_with_its_config(tmp_path: Path) -> None:
    sweep = made(tmp_path / "sweeps")
    assert sweep.path.parent == tmp_path / "sweeps" / "credit"
    assert sweep.path.name.startswith("20261124-083000-")
    assert sweep.config.read_text() == "seed: 1\n"
    assert sweep.config.name == "sweep.yaml"
    assert sweep.journal == sweep.path / "journal.jsonl"
    assert sweep.trial(12) == sweep.path / "trials" / "12"
    assert sweep.lock == sweep.path / "lock"
    assert made(tmp_path / "sweeps").path != sweep.path


def test_what_a_killed_writer_left_goes(tmp_path: Path) -> None:
    sweep = made(tmp_path)
    left = sweep.path / ".sweep.yaml.0a1b2c3d.new"
    left.touch()
    sweep.remove_leftovers()
    assert sorted(sweep.path.iterdir()) == [sweep.config]


def test_a_sweep_is_opened_by_what_lies_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = made(tmp_path)
    sweep.trial(3).mkdir(parents=True)
    for path in (sweep.path, sweep.config, sweep.trials, sweep.trial(3)):
        assert SweepDirectory.open(path) == sweep
    monkeypatch.chdir(sweep.path)
    assert SweepDirectory.open(Path()) == SweepDirectory(Path())
    assert SweepDirectory.open(Path("trials/3")) == SweepDirectory(Path())
    monkeypatch.chdir(sweep.trial(3))
    assert SweepDirectory.open(Path()) == sweep


def refusal(path: Path) -> Problem:
    with pytest.raises(RunError) as caught:
        SweepDirectory.open(path)
    (problem,) = caught.value.problems
    assert problem.where == str(path)
    assert problem.expected == "a sweep directory"
    return problem


def test_what_is_no_sweep_is_told_with_the_nearest(tmp_path: Path) -> None:
    assert refusal(tmp_path).fix == "start one with `trainer sweep CONFIG`"
    assert refusal(tmp_path).found == "a directory without a sweep.yaml"
    root = tmp_path / "sweeps"
    first, second = made(root), made(root, "wine", minutes=1)
    assert refusal(root).found == "a folder with 2 sweeps"
    assert refusal(root).fix == f"choose one of them; the newest is {second.path}"
    assert refusal(root / "credit").found == "a folder with 1 sweep"
    assert refusal(root / "credt").fix == f"did you mean '{first.path}'?"
    assert refusal(root / "zzz").fix == f"the newest sweep is {second.path}"
    assert refusal(tmp_path / "sweeps.csv").found == "no such path"
    table = tmp_path / "x.csv"
    table.touch()
    assert refusal(table).found == "a file outside any sweep"
    assert refusal(table).fix == f"the newest sweep is {second.path}"


def test_sweeps_are_found_where_runs_would_be(tmp_path: Path) -> None:
    assert list(find_sweeps(tmp_path / "none")) == []
    one, two = made(tmp_path), made(tmp_path, "b")
    (tmp_path / "link").symlink_to(one.path)
    assert list(find_sweeps(tmp_path)) == sorted([one.path, two.path])
    assert list(find_sweeps(one.path)) == [one.path]
    assert is_sweep(one.path)
    assert not is_sweep(tmp_path)
