"""The live output of a sweep: its table has the values of the final table; phases are lines."""

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
from trainer_cli.following import Signals, follow
from trainer_cli.sweep_output import SweepView
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
    epoch = (max if higher else min)(known, key=known.__getitem__)
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


def sweep_events(higher: bool) -> list[Any]:
    result: list[Any] = [BatchPlanned(TRIALS, "4 networks in 1 program")]
    for epoch in range(1, 5):
        values = {
            number: curve[epoch - 1] for number, curve in CURVES.items() if len(curve) >= epoch
        }
        best = {number: best_of(number, epoch, higher) for number in values}
        result.append(TrialPackEpoch(epoch, values, best))
        if epoch == 2:
            result += [end(2, "failed", higher), end(3, "eliminated", higher)]
    return [*result, end(0, "finished", higher), end(1, "finished", higher)]


def end(number: int, status: Any, higher: bool) -> TrialEnded:
    epochs = len(CURVES[number])
    best = best_of(number, epochs, higher)
    value = math.nan if status == "failed" else best.objective
    return TrialEnded(number, status, value, epochs, best.epoch, None, 1.0, "it diverged")


def progress_after(sequence: list[Any], direction: Any = "higher") -> SweepProgress:
    progress = SweepProgress(Console(quiet=True))
    progress.sweep_started(started(direction))
    for event in sequence:
        match event:
            case BatchPlanned():
                progress.batch_started(event)
            case TrialPackEpoch():
                progress.epoch_ended(event)
            case TrialEnded():
                progress.trial_ended(event)
    return progress


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_live_table_has_the_values_of_the_final_table(direction: Any) -> None:
    sequence = sweep_events(direction == "higher")
    ends = [event for event in sequence if isinstance(event, TrialEnded)]
    records: list[Record] = [SweepHeader("val_auc", direction, 4, 1), BatchSuggested(TRIALS), *ends]
    last = make_leaderboard(records)
    # Before and after the two trials that are trained to the end have ended.
    before, after = progress_after(sequence[:-2], direction), progress_after(sequence, direction)
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


def test_trial_without_a_finite_epoch_is_last() -> None:
    progress = progress_after(
        [BatchPlanned(TRIALS, ""), TrialPackEpoch(1, {0: math.nan, 1: 0.2}, {1: BestEpoch(0.2, 1)})]
    )
    assert [row[0] for row in progress.leading()] == [1, 0]
    assert "best val_auc 0.2000 (trial 1)" in progress.summary()


def test_phases_are_printed_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    progress = SweepProgress(Console())
    progress.phase_started("reading x.csv")
    progress.pack_started(TrialPackStarted(1, 2, (0, 1), 0))
    progress.pack_started(TrialPackStarted(2, 2, (2,), 7))
    assert capsys.readouterr().err.splitlines() == [
        "reading x.csv …",
        "compiling pack 1 of 2 (2 trials) …",
        "compiling pack 2 of 2 (1 trial, from epoch 8) …",
    ]
    quiet = SweepProgress(Console(quiet=True))
    quiet.phase_started("reading x.csv")
    assert capsys.readouterr().err == ""


def test_shortened_table_names_the_command_for_all_trials(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from trainer.workflows.events import SweepFinished

    trials = tuple(Trial(number, {"seed": number}) for number in range(12))
    ends = [TrialEnded(number, "finished", number / 20, 3, 2, None, 1.0) for number in range(12)]
    header = SweepHeader("val_auc", "higher", 12, 1)
    for count, mentions in (
        (12, "10 of 12 trials; list all with: trainer ls 'sweeps/a b/c'"),
        (10, ""),
    ):
        leaderboard = make_leaderboard([header, BatchSuggested(trials[:count]), *ends[:count]])
        finished = SweepFinished(Path("sweeps/a b/c"), "trials", leaderboard, None, {}, 1.0)
        follow(generate([finished]), SweepView(Console()), Signals())
        output = capsys.readouterr().err
        assert len(best_table(leaderboard, SettingLabels()).rows) == 10
        assert (mentions in output) if mentions else ("list all" not in output)


def generate(sequence: list[Any]) -> Any:
    yield from sequence


def test_remaining_time_is_estimated_without_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]
    monkeypatch.setattr("trainer_cli.sweep_progress.monotonic", lambda: seconds[0])
    progress = SweepProgress(Console(quiet=True))
    progress.sweep_started(started("higher"))
    seconds[0] = 100.0  # the first epoch, after compilation
    progress.epoch_ended(TrialPackEpoch(1, {0: 0.5}, {0: BestEpoch(0.5, 1)}))
    assert "left" not in progress.summary()
    seconds[0] = 101.0
    progress.epoch_ended(TrialPackEpoch(2, {0: 0.9}, {0: BestEpoch(0.9, 2)}))
    # One second for one of the 16 epochs of four trials, of which 14 are left.
    assert progress.summary().endswith("; about 14.0 s left")
