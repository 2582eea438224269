from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from trainer.errors import TrainingError
from trainer.sweep.halving import Direction
from trainer.sweep.journal import BatchSuggested, Record, SweepHeader
from trainer.sweep.leaderboard import Leaderboard, best_trial, make_leaderboard, trials_to_delete
from trainer.sweep.trials import Trial, TrialEnded

End = Callable[..., TrialEnded]


def leaderboard(*ends: TrialEnded, direction: Direction = "higher", trials: int = 6) -> Leaderboard:
    asked = BatchSuggested(tuple(Trial(number, {"seed": number}) for number in range(trials)))
    records: list[Record] = [SweepHeader("val_auc", direction, trials, 1), asked, *ends]
    return make_leaderboard(records)


def test_trials_are_ranked_by_their_objective(end: End) -> None:
    found = leaderboard(
        end(4, 0.9, "eliminated"), end(0, 0.5), end(1, math.nan), end(2, 0.7, "stopped"),
        end(3, 0.99, "failed"),
    )  # fmt: skip
    assert [row.trial.number for row in found.ranks] == [2, 0, 4]
    assert [row.trial.number for row in found.rows] == list(range(6))
    assert [row.trial.number for row in found.open] == [5]
    assert found.best is found.ranks[0]
    assert best_trial(found, "sweeps/a") is found.best


def test_the_direction_counts_and_ties_go_to_the_first(end: End) -> None:
    ends = [end(3, 0.5), end(1, 0.2), end(2, 0.2), end(0, 0.9)]
    assert [row.trial.number for row in leaderboard(*ends).ranks] == [0, 3, 1, 2]
    assert [row.trial.number for row in leaderboard(*ends, direction="lower").ranks] == [1, 2, 3, 0]


def test_an_eliminated_trial_does_not_win(end: End) -> None:
    found = leaderboard(
        end(0, 0.9, "eliminated"), end(1, math.nan, "failed", reason="out of memory")
    )
    assert found.best is None
    with pytest.raises(TrainingError) as caught:
        best_trial(found, "sweeps/a")
    assert str(caught.value).startswith(
        "sweeps/a: expected a trial with a finite val_auc, found none in 6 trials; the first "
        "failure: out of memory; fix that and start another sweep"
    )


def test_an_empty_journal_stands_empty() -> None:
    found = make_leaderboard([])
    assert (found.rows, found.ranks, found.best, found.objective) == ((), (), None, "")


def test_a_row_as_one_object(end: End) -> None:
    first, second = leaderboard(end(0, 0.5), trials=2).rows
    assert first.facts() == {
        "trial": 0, "status": "finished", "objective": 0.5, "epochs": 9, "best_epoch": 1,
        "seconds": 1.5, "run": "trials/0", "reason": "", "settings": {"seed": 0},
    }  # fmt: skip
    assert second.facts() == {
        "trial": 1, "status": "open", "objective": None, "epochs": None, "best_epoch": None,
        "seconds": None, "run": None, "reason": "", "settings": {"seed": 1},
    }  # fmt: skip


def test_what_is_not_among_the_best_is_discarded(end: End) -> None:
    found = leaderboard(end(0, 0.5), end(1, 0.7), end(2, math.nan), end(3, 0.9, "eliminated"))
    numbers = {
        kept: [row.trial.number for row in trials_to_delete(found, kept)]
        for kept in (None, 1, 2, 9)
    }
    assert numbers == {None: [], 1: [0, 2, 3], 2: [2, 3], 9: [2]}
