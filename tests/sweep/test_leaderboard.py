from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from trainer.errors import TrainingError
from trainer.sweep.halving import Direction
from trainer.sweep.journal import BatchSuggested, Record, SweepHeader
from trainer.sweep.leaderboard import Leaderboard, best_trial, make_leaderboard, trials_to_delete
from trainer.sweep.trials import Trial, TrialEnded

MakeTrialEnd = Callable[..., TrialEnded]


def leaderboard(*ends: TrialEnded, direction: Direction = "higher", trials: int = 6) -> Leaderboard:
    batch = BatchSuggested(tuple(Trial(number, {"seed": number}) for number in range(trials)))
    records: list[Record] = [SweepHeader("val_auc", direction, trials, 1), batch, *ends]
    return make_leaderboard(records)


def test_trials_are_ranked_by_their_objective(make_end: MakeTrialEnd) -> None:
    board = leaderboard(
        make_end(4, 0.9, "eliminated"), make_end(0, 0.5), make_end(1, math.nan),
        make_end(2, 0.7, "stopped"), make_end(3, 0.99, "failed"),
    )  # fmt: skip
    assert [row.trial.number for row in board.ranks] == [2, 0, 4]
    assert [row.trial.number for row in board.rows] == list(range(6))
    assert [row.trial.number for row in board.unfinished] == [5]
    assert board.best is board.ranks[0]
    assert best_trial(board, "sweeps/a") is board.best


def test_direction_and_ties(make_end: MakeTrialEnd) -> None:
    ends = [make_end(3, 0.5), make_end(1, 0.2), make_end(2, 0.2), make_end(0, 0.9)]
    assert [row.trial.number for row in leaderboard(*ends).ranks] == [0, 3, 1, 2]
    assert [row.trial.number for row in leaderboard(*ends, direction="lower").ranks] == [1, 2, 3, 0]


def test_eliminated_trial_is_not_the_best(make_end: MakeTrialEnd) -> None:
    board = leaderboard(
        make_end(0, 0.9, "eliminated"), make_end(1, math.nan, "failed", reason="out of memory")
    )
    assert board.best is None
    with pytest.raises(TrainingError) as raised:
        best_trial(board, "sweeps/a")
    assert str(raised.value).startswith(
        "sweeps/a: expected a trial with a finite val_auc, found none in 6 trials; the first "
        "failure: out of memory; fix that and start another sweep"
    )


def test_empty_journal() -> None:
    board = make_leaderboard([])
    assert (board.rows, board.ranks, board.best, board.objective) == ((), (), None, "")


def test_row_to_json(make_end: MakeTrialEnd) -> None:
    first, second = leaderboard(make_end(0, 0.5), trials=2).rows
    assert first.to_json() == {
        "trial": 0, "status": "finished", "objective": 0.5, "epochs": 9, "best_epoch": 1,
        "seconds": 1.5, "run": "trials/0", "reason": "", "settings": {"seed": 0},
    }  # fmt: skip
    assert second.to_json() == {
        "trial": 1, "status": "unfinished", "objective": None, "epochs": None, "best_epoch": None,
        "seconds": None, "run": None, "reason": "", "settings": {"seed": 1},
    }  # fmt: skip


def test_trials_to_delete(make_end: MakeTrialEnd) -> None:
    board = leaderboard(
        make_end(0, 0.5), make_end(1, 0.7), make_end(2, math.nan), make_end(3, 0.9, "eliminated")
    )
    numbers = {
        keep: [row.trial.number for row in trials_to_delete(board, keep)]
        for keep in (None, 1, 2, 9)
    }
    assert numbers == {None: [], 1: [0, 2, 3], 2: [2, 3], 9: [2]}
