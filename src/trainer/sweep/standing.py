"""How a sweep stands, read off its journal: a row a trial, the best so far, what can be thrown away.

Owns: rows and ranks. Does not own: how a table looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.errors import Problem, TrainingError
from trainer.sweep.halving import Direction, ranked
from trainer.sweep.journal import BatchAsked, Record, begun_of
from trainer.sweep.trials import Trial, TrialEnded


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial and what became of it; `ended` is None while it trains or waits to be resumed."""

    trial: Trial
    ended: TrialEnded | None

    def facts(self) -> dict[str, Any]:
        """The row as one object, for JSON; an objective that is no number is NaN."""
        ended = self.ended
        return {
            "trial": self.trial.number,
            "status": "open" if ended is None else ended.status,
            "objective": None if ended is None else ended.objective,
            "epochs": None if ended is None else ended.epochs,
            "best_epoch": None if ended is None else ended.best_epoch,
            "seconds": None if ended is None else ended.seconds,
            "run": None if ended is None else ended.run,
            "reason": "" if ended is None else ended.reason,
            "settings": dict(self.trial.settings),
        }


@dataclass(frozen=True)
class Standing:
    """How a sweep stands.

    Attributes:
        objective: The measure that trials are compared by; empty before the sweep has begun.
        direction: Which way it is better.
        rows: The trials by number.
        ranks: The trials that can be compared, the best first. Trials that were eliminated come after
            those that were not: they were trained for less.
    """

    objective: str
    direction: Direction
    rows: tuple[TrialRow, ...]
    ranks: tuple[TrialRow, ...]

    @property
    def best(self) -> TrialRow | None:
        """The best trial so far that was not eliminated."""
        for row in self.ranks[:1]:
            if row.ended is not None and row.ended.status != "eliminated":
                return row
        return None

    @property
    def open(self) -> tuple[TrialRow, ...]:
        """The trials that have not ended."""
        return tuple(row for row in self.rows if row.ended is None)


def standing_of(records: Sequence[Record]) -> Standing:
    """How a sweep with this journal stands."""
    begun = begun_of(records)
    trials = {
        trial.number: trial
        for record in records
        if isinstance(record, BatchAsked)
        for trial in record.trials
    }
    ended = {record.number: record for record in records if isinstance(record, TrialEnded)}
    rows = {number: TrialRow(trial, ended.get(number)) for number, trial in trials.items()}
    direction: Direction = "lower" if begun is None else begun.direction
    return Standing(
        objective="" if begun is None else begun.objective,
        direction=direction,
        rows=tuple(rows.values()),
        ranks=tuple(rows[number] for number in _ranks(ended, direction)),
    )


def _ranks(ended: Mapping[int, TrialEnded], direction: Direction) -> list[int]:
    whole: dict[int, float] = {}
    part: dict[int, float] = {}
    for number, each in ended.items():
        if each.status != "failed" and each.has_objective:
            group = part if each.status == "eliminated" else whole
            group[number] = each.objective
    return [*ranked(whole, direction), *ranked(part, direction)]


def winner_of(standing: Standing, where: str) -> TrialRow:
    """The best trial of a sweep that has ended.

    Args:
        standing: How the sweep stands.
        where: The sweep, as it is shown.

    Raises:
        TrainingError: No trial can be compared.
    """
    if standing.best is not None:
        return standing.best
    ended = [row.ended for row in standing.rows if row.ended is not None]
    reasons = [each.reason for each in ended if each.reason]
    found = f"none in {len(standing.rows)} trials"
    fix = "search lower learning rates, or clip gradients with optimizer.clip_norm=1"
    if reasons:
        found += f"; the first that failed: {reasons[0]}"
        fix = "fix that, and start another sweep"
    elif not ended:
        fix = "give it more time: sweep.max_seconds"
    raise TrainingError(
        Problem(
            where=where,
            expected=f"a trial with a finite {standing.objective or 'objective'}",
            found=found,
            fix=fix,
        )
    )


def discarded(standing: Standing, kept: int | None) -> tuple[TrialRow, ...]:
    """The trials that have ended and whose run directories are not kept; all are for None."""
    if kept is None:
        return ()
    best = {row.trial.number for row in standing.ranks[:kept]}
    return tuple(row for row in standing.rows if row.ended and row.trial.number not in best)
