"""What is shown of a sweep while it trains: the numbers of the table at its end, and the phases."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainer.report.sweeps.text import SettingLabels, best_table
from trainer.sweep.journal import BatchSuggested, Record, SweepHeader
from trainer.sweep.leaderboard import make_leaderboard
from trainer.sweep.trials import (
    BatchPlanned,
    BestEpoch,
    Trial,
    TrialEnded,
    TrialPackEpoch,
    TrialPackStarted,
)
from trainer_cli.console import Console
from trainer_cli.fit_output import Signals
from trainer_cli.sweep_output import follow_sweep
from trainer_cli.sweep_progress import SweepProgress

CURVES = {
    0: [0.5, 0.9, 0.4, 0.3],  # the best was an early epoch
    1: [0.6, 0.7, 0.8, 0.7],
    2: [0.95, math.nan],  # fails
    3: [0.99, 0.1],  # eliminated
}
TRIALS = tuple(Trial(number, {"optimizer.learning_rate": 0.1 * number}) for number in CURVES)


def best_of(number: int, epochs: int, higher: bool) -> BestEpoch:
    values = dict(enumerate(CURVES[number][:epochs], start=1))
    known = {epoch: value for epoch, value in values.items() if math.isfinite(value)}
    epoch = (max if higher else min)(known, key=lambda one: known[one])
    return BestEpoch(known[epoch], epoch)


def started(direction: Any, trials: int | None = 4) -> SimpleNamespace:
    leaderboard = make_leaderboard([SweepHeader("val_auc", direction, 4, 1)])
    plan = SimpleNamespace(total_steps=8, steps_per_epoch=2)
    return SimpleNamespace(
        sweep=Path("sweeps/a/b"),
        trials=trials,
        leaderboard=leaderboard,
        plan=plan,
        labels=SettingLabels(),
    )


def events(higher: bool) -> list[Any]:
    found: list[Any] = [BatchPlanned(TRIALS, "4 networks in 1 program")]
    for epoch in range(1, 5):
        told = {
            number: values[epoch - 1] for number, values in CURVES.items() if len(values) >= epoch
        }
        best = {number: best_of(number, epoch, higher) for number in told}
        found.append(TrialPackEpoch(epoch, told, best))
        if epoch == 2:
            found += [end(2, "failed", higher), end(3, "eliminated", higher)]
    return [*found, end(0, "finished", higher), end(1, "finished", higher)]


def end(number: int, status: Any, higher: bool) -> TrialEnded:
    epochs = len(CURVES[number])
    best = best_of(number, epochs, higher)
    value = math.nan if status == "failed" else best.objective
    return TrialEnded(number, status, value, epochs, best.epoch, None, 1.0, "it diverged")


def shown(happening: list[Any], direction: Any = "higher") -> SweepProgress:
    progress = SweepProgress(Console(quiet=True))
    progress.started(started(direction))
    for event in happening:
        match event:
            case BatchPlanned():
                progress.planned(event)
            case TrialPackEpoch():
                progress.epoch(event)
            case TrialEnded():
                progress.ended(event)
    return progress


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_the_live_table_has_the_numbers_of_the_last_one(direction: Any) -> None:
    happening = events(direction == "higher")
    ends = [event for event in happening if isinstance(event, TrialEnded)]
    records: list[Record] = [SweepHeader("val_auc", direction, 4, 1), BatchSuggested(TRIALS), *ends]
    last = make_leaderboard(records)
    # Just before the two that are trained to the end have ended, and after.
    before, after = shown(happening[:-2], direction), shown(happening, direction)
    numbers = [(row[0], row[2], row[3]) for row in before.leading()]
    assert numbers == [(row[0], row[2], row[3]) for row in after.leading()]
    assert numbers == [
        (row.trial.number, row.ended.objective, row.ended.best_epoch)
        for row in last.ranks
        if row.ended is not None
    ]
    assert last.best is not None
    assert f"(trial {last.best.trial.number})" in before.summary()
    assert (
        before.summary().split("; about")[0].split("best ")[1]
        == (after.summary().split("best ")[1])
    )


def test_a_trial_without_a_finite_epoch_is_last() -> None:
    progress = shown(
        [BatchPlanned(TRIALS, ""), TrialPackEpoch(1, {0: math.nan, 1: 0.2}, {1: BestEpoch(0.2, 1)})]
    )
    assert [row[0] for row in progress.leading()] == [1, 0]
    assert "best val_auc 0.2000 (trial 1)" in progress.summary()


def test_phases_are_lines_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    progress = SweepProgress(Console())
    progress.phase("reading x.csv")
    progress.pack(TrialPackStarted(1, 2, (0, 1), 0))
    progress.pack(TrialPackStarted(2, 2, (2,), 7))
    assert capsys.readouterr().err.splitlines() == [
        "reading x.csv …",
        "compiling pack 1 of 2 (2 trials) …",
        "compiling pack 2 of 2 (1 trial, from epoch 8) …",
    ]
    quiet = SweepProgress(Console(quiet=True))
    quiet.phase("reading x.csv")
    assert capsys.readouterr().err == ""


def test_a_cut_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    from trainer.workflows.sweep import SweepFinished

    trials = tuple(Trial(number, {"seed": number}) for number in range(12))
    ends = [TrialEnded(number, "finished", number / 20, 3, 2, None, 1.0) for number in range(12)]
    begun = SweepHeader("val_auc", "higher", 12, 1)
    for count, mentions in (
        (12, "10 of 12 trials; list all with: trainer ls 'sweeps/a b/c'"),
        (10, ""),
    ):
        leaderboard = make_leaderboard([begun, BatchSuggested(trials[:count]), *ends[:count]])
        over = SweepFinished(Path("sweeps/a b/c"), "trials", leaderboard, None, {}, 1.0)
        follow_sweep(iterated([over]), Console(), Signals())
        told = capsys.readouterr().err
        assert len(best_table(leaderboard, SettingLabels()).rows) == 10
        assert (mentions in told) if mentions else ("list all" not in told)


def iterated(happening: list[Any]) -> Any:
    yield from happening
