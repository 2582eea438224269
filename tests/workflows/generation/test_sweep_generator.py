"""Sweeps over the settings of a generator."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.generation.conftest import ROWS, write_config
from trainer.config.sweep_loading import load_sweep
from trainer.errors import ConfigError, RunError
from trainer.runs.log import read_log
from trainer.runs.sweeps import SweepDirectory
from trainer.sweep.best_trial import best_trial_run, read_leaderboard, refit_config
from trainer.sweep.trials import BatchPlanned
from trainer.workflows.events import SweepFinished
from trainer.workflows.session import Session
from trainer.workflows.sweeps.sweep import resume_sweep, sweep
from trainer.workflows.sweeps.sweep_plan import plan_sweep

SEARCHED = (
    "networks.generator.optimizer.learning_rate=1e-5,5e-3",
    "fit.epochs=2",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: Any) -> SweepFinished:
    config = write_config(tmp_path_factory.mktemp("sweep"), ROWS)
    loaded = load_sweep(config, SEARCHED)
    events = list(sweep(loaded, Session(("trainer", "sweep")), config.parent / "sweeps", jobs=1))
    assert [str(event.text) for event in events if isinstance(event, BatchPlanned)] == [
        "2 generators, one by one"
    ]
    last = events[-1]
    assert isinstance(last, SweepFinished)
    return last


def test_the_trial_with_the_smallest_distance_wins(finished: SweepFinished) -> None:
    directory = SweepDirectory(finished.sweep)
    board = read_leaderboard(directory)
    assert (board.objective, board.direction) == ("frechet_distance", "lower")
    best = {}
    for row in board.rows:
        log = read_log(directory.trial(row.trial.number) / "metrics.jsonl")
        best[row.trial.number] = min(epoch["frechet_distance"] for epoch in log)
    run, winner = best_trial_run(finished.sweep)
    assert winner.trial.number == min(best, key=lambda number: best[number])
    assert winner.ended is not None
    assert winner.ended.objective == pytest.approx(best[winner.trial.number])
    # Only the best trial is compared with the test rows.
    tested = [row.trial.number for row in board.rows
              if (directory.trial(row.trial.number) / "evaluation" / "test.json").exists()]  # fmt: skip
    assert tested == [winner.trial.number]
    assert finished.metrics["test"]["frechet_distance"] > 0
    assert (run.samples / "findings.json").exists()
    assert "Generated rows after epoch" in run.report.read_text()
    assert directory.report.exists()


@pytest.mark.slow
def test_a_stopped_sweep_ends_with_the_same_trials(finished: SweepFinished, tmp_path: Path) -> None:
    root = finished.sweep.parents[2]
    loaded = load_sweep(root / "config.yaml", SEARCHED)
    session = Session(("trainer", "sweep"), interrupted=_at_check(4))
    *_, stopped = sweep(loaded, session, tmp_path / "sweeps", jobs=1)
    assert stopped.status == "stopped"
    *_, done = resume_sweep(stopped.sweep, Session(("trainer", "resume")), jobs=1)
    first, second = (
        {row.trial.number: row.ended.objective for row in event.leaderboard.rows if row.ended}
        for event in (finished, done)
    )
    assert first == second


def _at_check(number: int) -> Any:
    checks = iter(range(number))
    return lambda: None if next(checks, None) is not None else "stopped"


def test_plans_and_refusals(finished: SweepFinished, tmp_path: Path) -> None:
    root = Path(shutil.copytree(finished.sweep.parents[2], tmp_path / "root"))
    config = root / "config.yaml"
    plan = plan_sweep(load_sweep(config, SEARCHED))
    assert (plan.trials, plan.first_batch) == (2, "2 generators, one by one")
    objective = "sweep.objective=sample_recall"
    assert plan_sweep(load_sweep(config, [*SEARCHED, objective])).trials == 2
    with pytest.raises(ConfigError, match="'val_loss'"):
        load_sweep(config, [*SEARCHED, "sweep.objective=val_loss"])
    with pytest.raises(ConfigError, match=r"remove it, and compare seeds with trainer sweep"):
        load_sweep(config, [*SEARCHED, "fit.repeats=3"])
    run, _ = best_trial_run(finished.sweep)
    with pytest.raises(RunError, match="found a generator"):
        refit_config(run)
