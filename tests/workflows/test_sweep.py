"""A sweep: its trials, its winner, its end; stopped and killed it goes on to the same table."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.kill.comparison import differences
from trainer.config.sweep_loading import load_sweep
from trainer.errors import ConfigError, RunError, TrainingError
from trainer.runs.sweeps import SweepDirectory
from trainer.sweep.trials import BatchPlanned, TrialEnded, TrialPackEpoch, TrialPackStarted
from trainer.workflows.best_trial import best_trial_run, read_standing
from trainer.workflows.sweep import (
    PhaseStarted,
    SweepFinished,
    SweepStarted,
    find_sweep,
    resume_sweep,
    sweep,
)

RATES = "optimizer.learning_rate=1e-3,1e-2,3e-2,1e-1"
InterruptCheck = Callable[[], str | None]


def never() -> None:
    return None


def after(times: int) -> InterruptCheck:
    """Asked so often, it says to stop."""
    asked = count(1)
    return lambda: "stopped" if next(asked) >= times else None


def begin(config: Path, *words: str, jobs: int = 1, interrupted: InterruptCheck = never) -> list:
    return list(
        sweep(
            load_sweep(config, words),
            sweeps=config.parent / "sweeps",
            jobs=jobs,
            command=("trainer", "sweep"),
            allow_custom=False,
            interrupted=interrupted,
        )
    )


def go_on(path: Path, jobs: int = 1, interrupted: InterruptCheck = never) -> SweepFinished:
    events = list(
        resume_sweep(
            path,
            jobs=jobs,
            command=("trainer", "resume"),
            allow_custom=False,
            interrupted=interrupted,
        )
    )
    assert isinstance(events[-1], SweepFinished)
    return events[-1]


def table(path: Path) -> list[dict]:
    """What came of the trials, but for times."""
    rows = [row.to_json() for row in read_standing(SweepDirectory(path)).rows]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_each_trial_is_a_run_and_the_best_is_tested(small: Path) -> None:
    events = begin(small, RATES, "fit.epochs=3", "evaluate.report=true")
    done = events[-1]
    planned = next(event for event in events if isinstance(event, BatchPlanned))
    assert planned.text == "4 networks in 1 program"
    rows = table(done.sweep)
    assert [row["settings"] for row in rows] == [
        {"optimizer.learning_rate": rate} for rate in (1e-3, 1e-2, 3e-2, 1e-1)
    ]
    assert {row["status"] for row in rows} == {"finished"}
    best = min(rows, key=lambda row: row["objective"])
    run, row = best_trial_run(done.sweep)
    assert run.path == done.sweep / "trials" / str(best["trial"])
    assert row.trial.number == best["trial"] == done.winner.trial.number
    history = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert min(one["val_loss"] for one in history) == best["objective"]
    page = (done.sweep / "report.html").read_text(encoding="utf-8")
    assert f"The best is trial {best['trial']}" in page
    assert "The sweep is" not in page
    # Test rows are looked at for the winner alone.
    tested = sorted(path.parts[-3] for path in done.sweep.glob("trials/*/evaluation/test.json"))
    assert tested == [str(best["trial"])]
    assert done.metrics["test"]["accuracy"] >= 0.0


def test_trials_that_are_trained_alone_leave_the_test_rows_alone(small: Path) -> None:
    # No pack can hold lamb.
    done = begin(small, "optimizer.learning_rate=1e-3,1e-2", "optimizer.name=lamb", "fit.epochs=2")[
        -1
    ]
    tested = [path.parts[-3] for path in done.sweep.glob("trials/*/evaluation/test.json")]
    assert tested == [str(done.winner.trial.number)]
    assert set(done.metrics) == {"train", "validation", "test"}


def best_told(events: list) -> dict[int, tuple[float, int]]:
    """The best epoch of each trial, as it was told last while it trained."""
    found: dict[int, tuple[float, int]] = {}
    for event in events:
        if isinstance(event, TrialPackEpoch):
            found |= event.best
    return found


def ended_as(path: Path) -> dict[int, tuple[float, int]]:
    return {row["trial"]: (row["objective"], row["best_epoch"]) for row in table(path)}


def test_what_it_does_is_told_while_it_takes_long(small: Path) -> None:
    # At such a learning rate the best epoch is not the last one.
    words = ["optimizer.learning_rate=1e-2,3.0,5.0", "fit.epochs=5"]
    events = begin(small, *words)
    done = events[-1]
    kinds = [type(event) for event in events]
    phases = [event.text for event in events if isinstance(event, PhaseStarted)]
    assert phases == [f"reading {small.parent / 'small.csv'}", "importing TensorFlow",
                      "evaluating the best trial"]  # fmt: skip
    order = [
        PhaseStarted,
        SweepStarted,
        BatchPlanned,
        PhaseStarted,
        TrialPackStarted,
        TrialPackEpoch,
    ]
    assert kinds[: len(order)] == order
    begun = next(event for event in events if isinstance(event, TrialPackStarted))
    assert (begun.place, begun.packs, begun.trials, begun.epoch) == (1, 1, (0, 1, 2), 0)
    assert best_told(events) == ended_as(done.sweep)
    assert any(best < 5 for _, best in ended_as(done.sweep).values())


def test_the_best_epoch_before_a_stop_is_told_after_it(small: Path) -> None:
    words = ["optimizer.learning_rate=1e-2,3.0,5.0", "fit.epochs=6"]
    begun = begin(small, *words, interrupted=after(6))[-1]
    assert begun.reason == "interrupted"
    events = list(
        resume_sweep(
            begun.sweep, jobs=1, command=("trainer",), allow_custom=False, interrupted=never
        )
    )
    packs = [event for event in events if isinstance(event, TrialPackStarted)]
    assert [pack.epoch > 0 for pack in packs] == [True]
    assert best_told(events) == ended_as(begun.sweep)


def test_the_winner_trained_alone_gives_its_score_again(small: Path, tmp_path: Path) -> None:
    done = begin(small, RATES, "fit.epochs=3")[-1]
    run, row = best_trial_run(done.sweep)
    from tests.workflows.conftest import run_fit

    alone = run_fit(run.path / "config.yaml", tmp_path / "runs")
    assert alone.metrics["validation"]["loss"] == pytest.approx(row.ended.objective, rel=1e-4)
    assert alone.metrics["test"] == pytest.approx(done.metrics["test"], rel=1e-3)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A config, and its sweep carried through."""
    from tests.workflows.conftest import CONFIG, write_table

    folder = tmp_path_factory.mktemp("undisturbed")
    write_table(folder / "small.csv")
    text = CONFIG.replace("ENCODE", "onehot") + SWEEP
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder / "config.yaml", begin(folder / "config.yaml")[-1].sweep


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


def test_stopped_it_goes_on_to_the_same_table(undisturbed) -> None:
    config, whole = undisturbed
    begun = begin(config, interrupted=after(2))[-1]
    assert (begun.reason, begun.winner) == ("interrupted", None)
    go_on(begun.sweep, interrupted=after(9))
    done = go_on(begun.sweep)
    assert done.reason == "trials"
    assert table(done.sweep) == table(whole)
    for number in range(12):
        own, other = (path / "trials" / str(number) for path in (done.sweep, whole))
        assert differences(own, other) == []


def test_several_jobs_find_the_same_trials(undisturbed) -> None:
    config, _ = undisturbed
    words = ("sweep.search=sobol", "~sweep.halving", "sweep.trials=8")
    one, two = (begin(config, *words, jobs=jobs)[-1] for jobs in (1, 2))
    first, second = table(one.sweep), table(two.sweep)
    assert [row["settings"] for row in first] == [row["settings"] for row in second]
    for own, other in zip(first, second, strict=True):
        assert own["objective"] == pytest.approx(other["objective"], abs=1e-3)


def test_a_sweep_that_has_ended_says_so_again(undisturbed) -> None:
    config, whole = undisturbed
    before = (whole / "journal.jsonl").read_bytes()
    done = go_on(whole)
    assert (done.reason, done.winner.trial.number) == (
        "trials",
        best_trial_run(whole)[1].trial.number,
    )
    assert (whole / "journal.jsonl").read_bytes() == before
    assert find_sweep(load_sweep(config), config.parent / "sweeps") is not None
    assert find_sweep(load_sweep(config, ["fit.epochs=9"]), config.parent / "sweeps") is None


def test_the_best_so_many_are_kept(small: Path) -> None:
    done = begin(small, RATES, "sweep.keep=best:2", "fit.epochs=2")[-1]
    kept = {int(path.name) for path in (done.sweep / "trials").iterdir()}
    assert kept == {row.trial.number for row in done.leaderboard.ranks[:2]}
    assert best_trial_run(done.sweep)[0].path.is_dir()


def test_time_over_ends_it_with_what_there_is(small: Path) -> None:
    words = [RATES, "fit.epochs=1000000", "sweep.max_seconds=6"]
    done = begin(small, *words)[-1]
    assert done.reason == "seconds"
    assert {row["status"] for row in table(done.sweep)} == {"stopped"}
    assert done.winner is not None


def test_a_trial_that_fails_takes_no_other_with_it(small: Path) -> None:
    events = begin(small, "optimizer.learning_rate=1e-2,1e30", "fit.epochs=3")
    ended = {event.number: event for event in events if isinstance(event, TrialEnded)}
    assert (ended[0].status, ended[1].status) == ("finished", "failed")
    assert "a finite loss" in ended[1].reason
    assert events[-1].winner.trial.number == 0


def test_no_trial_that_can_be_compared_is_a_failure(small: Path) -> None:
    with pytest.raises(TrainingError, match="a finite loss"):
        begin(small, "optimizer.learning_rate=1e30,1e35", "fit.epochs=2")
    (path,) = (small.parent / "sweeps").glob("*/*")
    with pytest.raises(TrainingError, match="a trial with a finite"):
        best_trial_run(path)


def test_what_cannot_be_is_said_before_anything_is_made(small: Path) -> None:
    with pytest.raises(ConfigError, match="one network a trial"):
        begin(small, RATES, "fit.repeats=2")
    with pytest.raises(ConfigError, match="validation rows"):
        begin(small, RATES, "sweep.objective=val_auc", "data.split.validation=0")
    assert not (small.parent / "sweeps").exists()


def test_what_is_no_sweep_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a sweep directory"):
        best_trial_run(tmp_path)
    with pytest.raises(RunError, match="a sweep directory"):
        go_on(tmp_path / "nothing")
