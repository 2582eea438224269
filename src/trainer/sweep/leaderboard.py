"""The leaderboard of a sweep, from its journal: trials, their ranks, the best one, runs to delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.errors import Problem, TrainingError
from trainer.sweep.halving import Direction, ranked
from trainer.sweep.journal import BatchSuggested, Record, header_of
from trainer.sweep.trials import Trial, TrialEnded


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial and its result; `ended` is None while it is in training or waiting to be resumed."""

    trial: Trial
    ended: TrialEnded | None

    def to_json(self) -> dict[str, Any]:
        """Convert the row to a JSON object; an undefined objective is NaN."""
        ended = self.ended
        return {
            "trial": self.trial.number,
            "status": "unfinished" if ended is None else ended.status,
            "objective": None if ended is None else ended.objective,
            "epochs": None if ended is None else ended.epochs,
            "best_epoch": None if ended is None else ended.best_epoch,
            "seconds": None if ended is None else ended.seconds,
            "run": None if ended is None else ended.run,
            "reason": "" if ended is None else ended.reason,
            "settings": dict(self.trial.settings),
        }


@dataclass(frozen=True)
class Leaderboard:
    """The trials of a sweep and their ranks.

    Attributes:
        objective: The metric that trials are ranked by; empty before the sweep has started.
        direction: Whether higher or lower is better.
        rows: The trials by number.
        ranks: The trials with an objective, best first. Eliminated trials come last, because they were
            trained for fewer epochs.
    """

    objective: str
    direction: Direction
    rows: tuple[TrialRow, ...]
    ranks: tuple[TrialRow, ...]

    @property
    def best(self) -> TrialRow | None:
        """The best trial so far, unless it was eliminated."""
        for row in self.ranks[:1]:
            if row.ended is not None and row.ended.status != "eliminated":
                return row
        return None

    @property
    def unfinished(self) -> tuple[TrialRow, ...]:
        """The trials without a result."""
        return tuple(row for row in self.rows if row.ended is None)


def make_leaderboard(records: Sequence[Record]) -> Leaderboard:
    """Build the leaderboard from the records of a journal."""
    header = header_of(records)
    trials = {
        trial.number: trial
        for record in records
        if isinstance(record, BatchSuggested)
        for trial in record.trials
    }
    ended = {record.number: record for record in records if isinstance(record, TrialEnded)}
    rows = {number: TrialRow(trial, ended.get(number)) for number, trial in trials.items()}
    direction: Direction = "lower" if header is None else header.direction
    return Leaderboard(
        objective="" if header is None else header.objective,
        direction=direction,
        rows=tuple(rows.values()),
        ranks=tuple(rows[number] for number in _ranks(ended, direction)),
    )


def _ranks(ended: Mapping[int, TrialEnded], direction: Direction) -> list[int]:
    trained: dict[int, float] = {}
    eliminated: dict[int, float] = {}
    for number, result in ended.items():
        if result.status != "failed" and result.has_objective:
            group = eliminated if result.status == "eliminated" else trained
            group[number] = result.objective
    return [*ranked(trained, direction), *ranked(eliminated, direction)]


def best_trial(leaderboard: Leaderboard, where: str) -> TrialRow:
    """Return the best trial of a sweep that has ended.

    Args:
        leaderboard: The leaderboard of the sweep.
        where: The sweep, as shown in the error.

    Raises:
        TrainingError: No trial has a finite objective.
    """
    if leaderboard.best is not None:
        return leaderboard.best
    ended = [row.ended for row in leaderboard.rows if row.ended is not None]
    reasons = [result.reason for result in ended if result.reason]
    found = f"none in {len(leaderboard.rows)} trials"
    fix = "search lower learning rates, or clip gradients with optimizer.clip_norm=1"
    if reasons:
        found += f"; the first failure: {reasons[0]}"
        fix = "fix that and start another sweep"
    elif not ended:
        fix = "increase sweep.max_seconds"
    raise TrainingError(
        Problem(
            where=where,
            expected=f"a trial with a finite {leaderboard.objective or 'objective'}",
            found=found,
            fix=fix,
        )
    )


def trials_to_delete(leaderboard: Leaderboard, kept: int | None) -> tuple[TrialRow, ...]:
    """Return ended trials outside the best `kept`, whose runs can be deleted; None keeps all."""
    if kept is None:
        return ()
    best = {row.trial.number for row in leaderboard.ranks[:kept]}
    return tuple(row for row in leaderboard.rows if row.ended and row.trial.number not in best)
