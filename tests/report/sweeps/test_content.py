"""The state of sweeps, their tables and next commands."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.report.run_files import NOW
from tests.report.sweep_files import make_sweep
from trainer.errors import RunError
from trainer.report.sweeps.best_trials import with_best_trials
from trainer.report.sweeps.content import read_sweep
from trainer.report.sweeps.tables import show_json, show_tables
from trainer.report.sweeps.text import SettingLabels
from trainer.report.text import plain_lines
from trainer.runs.lock import RunLock
from trainer.runs.process import this_process


def text_of(directory: Any) -> str:
    tables = show_tables(read_sweep(directory), NOW)
    assert all(table.rows for table in tables)
    return "\n".join(line for table in tables for line in plain_lines(table))


def test_finished_sweep(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, trials=14)
    sweep = read_sweep(directory)
    assert sweep.status == "finished"
    text = text_of(directory)
    assert "14 of 14 trials ended (14 finished)" in text
    assert "val_auc, higher is better" in text
    assert "log(0.0001, 0.1)" in text
    assert f"10 of 14 trials; list all with: trainer ls {directory.path}" in text
    assert f"trainer best {directory.path}" in text
    assert "trainer resume" not in text


@pytest.mark.parametrize("kind", ["running", "dead", "stopped"])
def test_status_of_an_unfinished_sweep(tmp_path: Path, kind: str) -> None:
    directory = make_sweep(tmp_path, trials=6, limit=9, unfinished=1)
    lock = RunLock(directory.lock) if kind == "running" else None
    if kind == "dead":
        process = subprocess.run(["true"], check=True, capture_output=True)
        assert process.returncode == 0
        owner = replace(this_process(), pid=2**22 - 1, started="long ago")
        directory.lock.write_text(json.dumps(asdict(owner)))
    sweep = read_sweep(directory)
    if lock is not None:
        lock.release()
    assert sweep.status == kind
    resumes = any(command.startswith("trainer resume") for command in sweep.commands)
    assert resumes is (kind != "running")
    assert "5 of 9 trials ended (5 finished); 1 is unfinished" in text_of(directory)


def test_failures_by_reason(tmp_path: Path) -> None:
    def ending(number: int, value: float) -> Any:
        if number % 2:
            return "failed", math.nan, "a rare reason" if number == 1 else "a frequent \x1breason"
        return "finished", value, ""

    directory = make_sweep(tmp_path, trials=12, ending=ending)
    lines = text_of(directory).splitlines()
    index = lines.index("failed trials")
    assert lines[index + 2].split() == [
        "5",
        "3,",
        "5,",
        "7,",
        "9,",
        "11",
        "a",
        "frequent",
        "\\x1breason",
    ]
    assert lines[index + 3].endswith("a rare reason")


def test_sweep_without_ranked_trials(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, trials=4, ending=lambda *_: ("failed", math.nan, "no"))
    assert "4 of 4 trials ended (4 failed)" in text_of(directory)
    assert show_json(read_sweep(directory))["best"] is None
    empty = make_sweep(tmp_path, "empty", trials=0, limit=8, settings=[])
    text = text_of(empty)
    assert "0 of 8 trials ended" in text
    assert "trainer resume" in text
    assert "trainer best" not in text


def test_damaged_files_are_reported(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, trials=3)
    directory.journal.write_text("{\n{}\n")
    text = text_of(directory)
    assert "damaged" in text
    assert "journal.jsonl:1" in text
    other = make_sweep(tmp_path, "other", trials=3)
    for content in (
        "",
        "- a\n",
        "sweep: {space: 3}\n",
        "{",
        "name: x\ndata: {source: a, target: b}\n",
    ):
        other.config.write_text(content)
        sweep = read_sweep(other)
        assert sweep.problems
        assert "sweep.yaml" in text_of(other)
        assert len(sweep.leaderboard.ranks) == 3


def test_sweep_is_replaced_by_its_best_trials(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, trials=8, kept=6)
    ranks = [row.trial.number for row in read_sweep(directory).leaderboard.ranks]
    numbers = lambda paths: [int(path.name) for path in paths]  # noqa: E731
    assert numbers(with_best_trials([directory.path])) == ranks[:5]
    assert numbers(with_best_trials([directory.path], 2)) == ranks[:2]
    assert numbers(with_best_trials([directory.config])) == ranks[:5]
    run = directory.trial(ranks[3])
    assert with_best_trials([directory.path, run]) == [directory.trial(ranks[0]), run]
    assert with_best_trials([run, run]) == [run, run]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 4, "kept": 0}, "ranked trials without run directories"),
        ({"trials": 4, "kept": 1}, "one trial with a run directory"),
        ({"trials": 4, "ending": lambda *_: ("failed", math.nan, "no")}, "only failed trials"),
        ({"trials": 0, "limit": 3, "settings": []}, "no finished trial"),
    ],
)
def test_sweep_without_trials_to_compare_is_rejected(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    directory = make_sweep(tmp_path, **arguments)
    with pytest.raises(RunError, match=message):
        with_best_trials([directory.path])


def test_long_values_are_numbered_in_config_order(tmp_path: Path) -> None:
    layers = [[{"dense": {"units": 64, "activation": "relu"}}] * count for count in (3, 1, 2)]
    section = {"space": {"model.layers": layers, "seed": [1, 2]}}
    trials = [{"model.layers": layer, "seed": 1} for layer in reversed(layers)]
    sweep = read_sweep(make_sweep(tmp_path, sweep=section, trials=3, settings=trials))
    assert [sweep.labels.settings(entry) for entry in trials] == [
        "layers=#3 seed=1", "layers=#2 seed=1", "layers=#1 seed=1",
    ]  # fmt: skip
    assert [row[:2] for row in sweep.labels.legend()] == [
        ("model.layers", "#1"), ("model.layers", "#2"), ("model.layers", "#3"),
    ]  # fmt: skip
    both = SettingLabels().settings({"a.units": 1, "b.units": 2, "optimizer.name": "sgd"})
    assert both == "a.units=1 b.units=2 optimizer=sgd"


@pytest.mark.slow
def test_reading_does_not_import_tensorflow(tmp_path: Path) -> None:
    directory = make_sweep(tmp_path, trials=6)
    code = (
        "import sys; from trainer_cli.main import run\n"
        "for command in ('show', 'ls', 'compare', 'report'):\n"
        f"    assert run([command, {str(directory.path)!r}]) == 0\n"
        "print([m for m in ('tensorflow', 'keras', 'optuna') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stderr.splitlines()[-1] == "[]"
