"""Sweeps: trials, the best trial, the end; an interrupted or killed sweep resumes to the same table."""

import json
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.kill.comparison import differences
from tests.workflows.conftest import CONFIG, run_fit, write_small
from trainer.config.sweep_loading import load_sweep
from trainer.errors import ConfigError, RunError, TrainingError
from trainer.runs.sweeps import SweepDirectory
from trainer.sweep.best_trial import best_trial_run, read_leaderboard
from trainer.sweep.study import run_study
from trainer.sweep.trials import BatchPlanned, TrialEnded, TrialPackEpoch, TrialPackStarted
from trainer.workflows.events import PhaseStarted, SweepFinished, SweepStarted
from trainer.workflows.session import InterruptCheck, Session, never_interrupted
from trainer.workflows.sweeps import sweep as sweep_module
from trainer.workflows.sweeps.sweep import (
    find_sweep,
    resume_sweep,
    sweep,
)

# At 3.0 and 5.0 the best epoch is not the last one; at 1e30 the loss becomes infinite.
RATES = (1e-3, 1e-2, 3.0, 5.0, 1e30)
OVERRIDES = (
    f"optimizer.learning_rate={','.join(map(str, RATES))}",
    "fit.epochs=5",
    "evaluate.report=true",
)


def at_check(number: int) -> InterruptCheck:
    """Interrupt at the n-th check for an interruption."""
    checks = count(1)
    return lambda: "stopped" if next(checks) >= number else None


def run_sweep(
    config: Path, *overrides: str, jobs: int = 1, interrupted: InterruptCheck = never_interrupted
) -> list:
    return list(
        sweep(
            load_sweep(config, overrides),
            Session(("trainer", "sweep"), interrupted=interrupted),
            config.parent / "sweeps",
            jobs=jobs,
        )
    )


def resume(path: Path) -> list:
    return list(resume_sweep(path, Session(("trainer", "resume")), jobs=1))


def table(path: Path) -> list[dict]:
    """Return the results of the trials, without times."""
    rows = [row.to_json() for row in read_leaderboard(SweepDirectory(path)).rows]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def reported_best(events: list) -> dict[int, tuple[float, int]]:
    """Return objective and epoch of each trial's best epoch, as last reported during training."""
    best: dict[int, tuple[float, int]] = {}
    for event in events:
        if isinstance(event, TrialPackEpoch):
            best |= event.best
    return best


def final_best(path: Path) -> dict[int, tuple[float, int]]:
    return {
        row["trial"]: (row["objective"], row["best_epoch"])
        for row in table(path)
        if row["status"] != "failed"
    }


@pytest.fixture(scope="module")
def rates_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("rates"))


@pytest.fixture(scope="module")
def rates_events(rates_config: Path) -> list:
    """The events of a sweep over learning rates."""
    return run_sweep(rates_config, *OVERRIDES)


def test_each_trial_is_a_run_and_only_the_best_is_evaluated_on_test_rows(rates_events) -> None:
    result = rates_events[-1]
    planned = next(event for event in rates_events if isinstance(event, BatchPlanned))
    assert planned.text == "5 networks in 1 program"
    rows = table(result.sweep)
    assert [row["settings"] for row in rows] == [{"optimizer.learning_rate": x} for x in RATES]
    assert [row["status"] for row in rows] == ["finished"] * 4 + ["failed"]
    best = min(rows[:4], key=lambda row: row["objective"])
    run, row = best_trial_run(result.sweep)
    assert run.path == result.sweep / "trials" / str(best["trial"])
    assert row.trial.number == best["trial"] == result.winner.trial.number
    history = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert min(epoch["val_loss"] for epoch in history) == best["objective"]
    page = (result.sweep / "report.html").read_text(encoding="utf-8")
    assert f"The best is trial {best['trial']}" in page
    tested = sorted(path.parts[-3] for path in result.sweep.glob("trials/*/evaluation/test.json"))
    assert tested == [str(best["trial"])]
    assert result.metrics["test"]["accuracy"] >= 0.0


def test_failed_trial_does_not_stop_the_others(rates_events) -> None:
    ended = {event.number: event for event in rates_events if isinstance(event, TrialEnded)}
    assert [ended[number].status for number in range(5)] == ["finished"] * 4 + ["failed"]
    assert "a finite loss" in ended[4].reason


def test_progress_is_reported(rates_config: Path, rates_events) -> None:
    phases = [event.text for event in rates_events if isinstance(event, PhaseStarted)]
    assert phases == [
        f"reading {rates_config.parent / 'small.csv'}",
        "importing TensorFlow",
        "evaluating the best trial",
    ]
    order = [
        PhaseStarted,
        SweepStarted,
        BatchPlanned,
        PhaseStarted,
        TrialPackStarted,
        TrialPackEpoch,
    ]
    assert [type(event) for event in rates_events[: len(order)]] == order
    started = next(event for event in rates_events if isinstance(event, TrialPackStarted))
    assert (started.position, started.packs, started.trials) == (1, 1, (0, 1, 2, 3, 4))
    assert started.epoch == 0
    best = final_best(rates_events[-1].sweep)
    assert reported_best(rates_events) == best
    assert any(epoch < 5 for _, epoch in best.values())


@pytest.mark.slow
def test_single_run_of_the_best_trial_reaches_its_score(rates_events, tmp_path: Path) -> None:
    result = rates_events[-1]
    run, row = best_trial_run(result.sweep)
    single = run_fit(run.path / "config.yaml", tmp_path / "runs")
    loss = single.metrics["validation"]["loss"]
    # Adam amplifies the rounding of a pack's sums; the noise of both is the same.
    assert loss == pytest.approx(row.ended.objective, rel=1e-3)
    assert single.metrics["test"] == pytest.approx(result.metrics["test"], rel=1e-3)


@pytest.mark.slow
def test_unpacked_trials_are_not_evaluated_on_test_rows_and_the_best_are_kept(small: Path) -> None:
    # Lamb is never packed.
    result = run_sweep(
        small,
        "optimizer.learning_rate=1e-3,1e-2,1e-1",
        "optimizer.name=lamb",
        "fit.epochs=1",
        "sweep.keep=best:2",
    )[-1]
    kept = {int(path.name) for path in (result.sweep / "trials").iterdir()}
    assert kept == {row.trial.number for row in result.leaderboard.ranks[:2]}
    tested = [path.parts[-3] for path in result.sweep.glob("trials/*/evaluation/test.json")]
    assert tested == [str(result.winner.trial.number)]
    assert set(result.metrics) == {"train", "validation", "test"}
    assert best_trial_run(result.sweep)[0].path.is_dir()


@pytest.mark.slow
def test_interrupted_sweep_resumes_exactly(rates_config: Path, rates_events) -> None:
    uninterrupted = rates_events[-1].sweep
    interrupted = run_sweep(rates_config, *OVERRIDES, interrupted=at_check(5))[-1]
    assert (interrupted.reason, interrupted.winner) == ("interrupted", None)
    *events, result = resume(interrupted.sweep)
    assert isinstance(result, SweepFinished)
    assert result.reason == "trials"
    assert_same_trials(result.sweep, uninterrupted)
    assert next(event for event in events if isinstance(event, TrialPackStarted)).epoch > 0
    # Epochs before the interruption are still considered.
    assert reported_best(events) == final_best(result.sweep)


def assert_same_trials(sweep: Path, uninterrupted: Path) -> None:
    assert table(sweep) == table(uninterrupted)
    for trial in (uninterrupted / "trials").iterdir():
        assert differences(sweep / "trials" / trial.name, trial) == []


SWEEP = """\
sweep:
  space:
    optimizer.learning_rate: log(1e-3, 1e-1)
    model.layers.2.dropout.rate: uniform(0.05, 0.5)
    seed: int(0, 1000)
  search: tpe
  trials: 12
  objective: val_auc
  halving: {first: 1 epoch, factor: 2}
"""


@pytest.mark.slow
@pytest.mark.parametrize("check", [2, 5])
def test_interrupted_tpe_search_resumes_exactly(halving_sweep, check: int) -> None:
    config, uninterrupted = halving_sweep
    interrupted = run_sweep(config, interrupted=at_check(check))[-1]
    assert interrupted.reason == "interrupted"
    assert_same_trials(resume(interrupted.sweep)[-1].sweep, uninterrupted)


@pytest.fixture(scope="module")
def halving_sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A config, and its sweep trained without a break."""
    config = tmp_path_factory.mktemp("halving") / "config.yaml"
    write_small(config.parent)
    config.write_text(CONFIG + SWEEP, encoding="utf-8")
    return config, run_sweep(config)[-1].sweep


@pytest.mark.slow
def test_number_of_jobs_does_not_change_the_trials(halving_sweep) -> None:
    config, _ = halving_sweep
    overrides = ("sweep.search=sobol", "~sweep.halving", "sweep.trials=4")
    single, parallel = (run_sweep(config, *overrides, jobs=jobs)[-1] for jobs in (1, 2))
    first, second = table(single.sweep), table(parallel.sweep)
    assert [row["settings"] for row in first] == [row["settings"] for row in second]
    for row, other in zip(first, second, strict=True):
        assert row["objective"] == pytest.approx(other["objective"], abs=1e-3)


def test_finished_sweep_is_not_trained_again(rates_config: Path, rates_events) -> None:
    uninterrupted = rates_events[-1].sweep
    before = (uninterrupted / "journal.jsonl").read_bytes()
    result = resume(uninterrupted)[-1]
    winner = best_trial_run(uninterrupted)[1].trial.number
    assert (result.reason, result.winner.trial.number) == ("trials", winner)
    assert (uninterrupted / "journal.jsonl").read_bytes() == before
    sweeps = rates_config.parent / "sweeps"
    assert find_sweep(load_sweep(rates_config, OVERRIDES), sweeps) is not None
    assert find_sweep(load_sweep(rates_config, [*OVERRIDES, "fit.epochs=9"]), sweeps) is None


@pytest.mark.slow
def test_max_seconds_ends_a_sweep(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock advances by a second whenever it is read: once per event.
    clock = partial(next, count())
    monkeypatch.setattr(sweep_module, "run_study", partial(run_study, clock=clock))
    rates = "optimizer.learning_rate=1e-3,1e-2"
    result = run_sweep(small, rates, "fit.epochs=1000000", "sweep.max_seconds=8")[-1]
    assert result.reason == "seconds"
    assert {row["status"] for row in table(result.sweep)} == {"stopped"}
    assert result.winner is not None


@pytest.mark.slow
def test_sweep_without_a_finite_objective_fails(small: Path) -> None:
    with pytest.raises(TrainingError, match="a finite loss"):
        run_sweep(small, "optimizer.learning_rate=1e30,1e35", "fit.epochs=2")
    (path,) = (small.parent / "sweeps").glob("*/*")
    with pytest.raises(TrainingError, match="a trial with a finite"):
        best_trial_run(path)


def test_invalid_sweep_leaves_no_directory(small: Path) -> None:
    rates = "optimizer.learning_rate=1e-3,1e-2"
    with pytest.raises(ConfigError, match="one network per trial"):
        run_sweep(small, rates, "fit.repeats=2")
    with pytest.raises(ConfigError, match="validation rows"):
        run_sweep(small, rates, "sweep.objective=val_auc", "data.split.validation=0")
    assert not (small.parent / "sweeps").exists()


def test_other_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a sweep directory"):
        best_trial_run(tmp_path)
    with pytest.raises(RunError, match="a sweep directory"):
        resume(tmp_path / "nothing")
