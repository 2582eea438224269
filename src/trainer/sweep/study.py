"""The loop of a sweep: get a batch of trials from the search, train it, halve it, record the results.

Every decision is written to the journal before anything depends on it. To resume, a process replays the
journal: the same calls of `ask` and `tell` restore the state of the search.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal, Self

from trainer.config.load import LoadedConfig, load_config
from trainer.config.metrics import better_direction
from trainer.config.sweeps import Sweep, parse_epochs, resolved_search, resolved_trials
from trainer.errors import Problem, RunError
from trainer.runs.sweeps import SweepDirectory
from trainer.sweep.halving import is_rung, trials_to_eliminate
from trainer.sweep.journal import BatchSuggested, Journal, RungResult, SweepHeader, header_of
from trainer.sweep.leaderboard import Leaderboard, make_leaderboard
from trainer.sweep.search import Search, Settings, new_search
from trainer.sweep.space import Space
from trainer.sweep.trials import Batch, Train, Trial, TrialEnded, TrialEvent, TrialPackEpoch


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """Training of a batch starts."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class StudyEnded:
    """The sweep has ended or was interrupted.

    Attributes:
        reason: trials: all trials are done. seconds: the time limit was reached. interrupted: the sweep
            can be resumed.
    """

    reason: Literal["trials", "seconds", "interrupted"]


StudyEvent = BatchStarted | TrialEvent | StudyEnded


class Study:
    """A sweep run by this process, which must hold its lock.

    Attributes:
        directory: The sweep directory.
        loaded: The base config.
        header: Objective, direction, batch size and jobs.

    Args:
        directory: The sweep directory; the journal can be empty.
        objective: Metric that trials are ranked by; ignored when resuming.
        batch_size: Number of trials per batch; ignored when resuming.
        jobs: Number of packs trained in parallel; ignored when resuming.

    Raises:
        ConfigError: The config is invalid.
        RunError: The journal is damaged or does not match the config.
        StorageError: The journal cannot be written.
    """

    def __init__(
        self, directory: SweepDirectory, objective: str, batch_size: int, jobs: int
    ) -> None:
        self.directory = directory
        self.loaded: LoadedConfig = load_config(directory.config)
        config = self.loaded.config
        if config.sweep is None:
            fix = "restore the file from a copy of the sweep"
            raise RunError(Problem(str(directory.config), "a sweep section", "none", fix))
        self._sweep: Sweep = config.sweep
        self._journal = Journal(directory.journal)
        header = header_of(self._journal.records)
        if header is None:
            header = SweepHeader(
                objective, better_direction(objective), batch_size, jobs, is_distinct=True
            )
            self._journal.write(header, 0.0)
        self.header = header
        seed = config.seed if config.sweep.seed is None else config.sweep.seed
        try:
            name = resolved_search(config.sweep)
            self._search: Search = new_search(
                name, Space(config), seed, header.direction, is_distinct=header.is_distinct
            )
            self._open = self._replay()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def leaderboard(self) -> Leaderboard:
        """Return the current leaderboard."""
        return make_leaderboard(self._journal.records)

    @property
    def elapsed_seconds(self) -> float:
        """Total seconds of the sweep when its journal was last written."""
        return self._journal.elapsed_seconds

    @property
    def max_seconds(self) -> float:
        """The time limit of the sweep; infinite by default."""
        return math.inf if self._sweep.max_seconds is None else self._sweep.max_seconds

    def next_batch(self, elapsed_seconds: float) -> Batch | None:
        """Return unfinished trials of a previous process, else the next trials; None at the end."""
        if self._open:
            unfinished, self._open = self._open, ()
            return Batch(unfinished)
        count = len(self.leaderboard().rows)
        limit = resolved_trials(self._sweep)
        size = self.header.batch_size
        # The limit can be below the count if sweep.trials was lowered since.
        suggested = self._search.ask(size if limit is None else max(0, min(size, limit - count)))
        if not suggested:
            return None
        trials = tuple(Trial(count + index, settings) for index, settings in enumerate(suggested))
        self._journal.write(BatchSuggested(trials), elapsed_seconds)
        return Batch(trials)

    def halve(self, batch: Batch, pack_epoch: TrialPackEpoch, elapsed_seconds: float) -> None:
        """Eliminate the worst trials at the end of a rung; a recorded decision is reused."""
        # If a pack is trained again after its worker was lost, eliminated trials end at the same epoch.
        batch.eliminated.clear()
        halving = self._sweep.halving
        if halving is None or not is_rung(
            pack_epoch.epoch, parse_epochs(halving.first), halving.factor
        ):
            return
        rung = self._recorded_rung(pack_epoch)
        if rung is None:
            eliminated = trials_to_eliminate(
                pack_epoch.objectives, halving.factor, self.header.direction
            )
            rung = RungResult(pack_epoch.epoch, tuple(sorted(pack_epoch.objectives)), eliminated)
            self._journal.write(rung, elapsed_seconds)
        batch.eliminated.update(set(rung.eliminated) & set(pack_epoch.objectives))

    def _recorded_rung(self, pack_epoch: TrialPackEpoch) -> RungResult | None:
        return next(
            (
                record
                for record in reversed(self._journal.records)
                if isinstance(record, RungResult)
                and record.epoch == pack_epoch.epoch
                and set(pack_epoch.objectives) <= set(record.compared)
            ),
            None,
        )

    def end(self, ended: TrialEnded, elapsed_seconds: float) -> None:
        """Record the result of a trial."""
        self._journal.write(ended, elapsed_seconds)

    def finish_batch(self) -> bool:
        """Tell the search the results of the last batch; return False if some trials have not ended."""
        records = self._journal.records
        last = next(record for record in reversed(records) if isinstance(record, BatchSuggested))
        ended = self._ended()
        if any(trial.number not in ended for trial in last.trials):
            return False
        self._search.tell([ended[trial.number] for trial in last.trials])
        return True

    def _ended(self) -> dict[int, TrialEnded]:
        records = self._journal.records
        return {record.number: record for record in records if isinstance(record, TrialEnded)}

    def _replay(self) -> tuple[Trial, ...]:
        """Replay the journal's batches on the search; return the trials that have not ended."""
        ended = self._ended()
        for record in self._journal.records:
            if not isinstance(record, BatchSuggested):
                continue
            suggested = list(self._search.ask(len(record.trials)))
            recorded: list[Settings] = [trial.settings for trial in record.trials]
            if suggested != recorded:
                raise RunError(_mismatch_problem(self.directory.journal, record, suggested))
            unfinished = [trial for trial in record.trials if trial.number not in ended]
            if unfinished:  # no batch starts before the previous one has ended
                return tuple(unfinished)
            self._search.tell([ended[trial.number] for trial in record.trials])
        return ()


def _mismatch_problem(path: Path, record: BatchSuggested, suggested: list[Settings]) -> Problem:
    number, recorded, now = next(
        (trial.number, dict(trial.settings), settings)
        for trial, settings in zip_longest(record.trials, suggested)
        if settings != trial.settings
    )
    return Problem(
        where=str(path),
        expected=f"trial {number} as sweep.yaml defines it, {'none' if now is None else dict(now)}",
        found=str(recorded),
        fix="undo the change to sweep.yaml or to a package version, or start another sweep",
    )


def run_study(
    study: Study, train: Train, clock: Callable[[], float] = time.monotonic
) -> Iterator[StudyEvent]:
    """Run a sweep from its current state to the end, yielding events.

    Args:
        study: The sweep.
        train: Trains a batch; its exceptions propagate, and the sweep can then be resumed.
        clock: Returns seconds.
    """
    start = clock() - study.elapsed_seconds
    while clock() - start < study.max_seconds:
        batch = study.next_batch(clock() - start)
        if batch is None:
            yield StudyEnded("trials")
            return
        yield BatchStarted(batch.trials)
        with closing(train(batch)) as events:
            for event in events:
                elapsed = clock() - start
                match event:
                    case TrialPackEpoch():
                        study.halve(batch, event, elapsed)
                    case TrialEnded():
                        study.end(event, elapsed)
                batch.is_stopped = elapsed >= study.max_seconds
                yield event
        if not study.finish_batch():
            yield StudyEnded("seconds" if batch.is_stopped else "interrupted")
            return
    yield StudyEnded("seconds")
