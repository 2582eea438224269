"""The loop of a sweep: ask for a batch, have it trained, halve it, write down what came of it, tell.

All that a process would go on with stands in the journal before it follows. A process that goes on
asks and tells again what the journal has, in the same batches, and then knows what the former one did.

Owns: the loop, resuming. Does not own: training, which it is handed (`trials.Train`); printing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from trainer.config.load import LoadedConfig, load_config
from trainer.config.objectives import better_direction
from trainer.config.sweeps import Sweep, epochs_of, resolved_search, resolved_trials
from trainer.errors import Problem, RunError
from trainer.runs.sweeps import SweepDirectory
from trainer.sweep.halving import is_rung, losers
from trainer.sweep.journal import BatchAsked, Journal, RungDecided, SweepBegun, begun_of
from trainer.sweep.search import Search, Settings, new_search
from trainer.sweep.space import Space
from trainer.sweep.standing import Standing, standing_of
from trainer.sweep.trials import Batch, EpochDone, Train, Trial, TrialEnded, TrialEvent


@dataclass(frozen=True, slots=True)
class BatchBegun:
    """Trials are handed out to be trained."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class StudyEnded:
    """The sweep has ended, or this process's part of it.

    Attributes:
        reason: trials: there are no more. seconds: its time is over. interrupted: it can be resumed.
    """

    reason: Literal["trials", "seconds", "interrupted"]


StudyEvent = BatchBegun | TrialEvent | StudyEnded


class Study:
    """A sweep that this process goes on with; made by the owner of its lock.

    Attributes:
        directory: The sweep's.
        loaded: Its base config.
        begun: Objective, direction, size of batches and jobs.

    Args:
        directory: A sweep's; its journal may be empty.
        objective: What trials are compared by, where the sweep has not begun.
        batch_size: Trials a batch, where the sweep has not begun: later ones go on with the first.
        jobs: Packs that are trained at a time, likewise.

    Raises:
        ConfigError: Its config is wrong.
        RunError: Its journal is damaged, or not that of its config.
        StorageError: Its journal cannot be written.
    """

    def __init__(
        self, directory: SweepDirectory, objective: str, batch_size: int, jobs: int
    ) -> None:
        self.directory = directory
        self.loaded: LoadedConfig = load_config(directory.config)
        config = self.loaded.config
        if config.sweep is None:
            fix = "take the file from a copy of the sweep"
            raise RunError(Problem(str(directory.config), "a sweep section", "none", fix))
        self._sweep: Sweep = config.sweep
        self._journal = Journal(directory.journal)
        begun = begun_of(self._journal.records)
        if begun is None:
            begun = SweepBegun(
                objective, better_direction(objective), batch_size, jobs, is_distinct=True
            )
            self._journal.write(begun, 0.0)
        self.begun = begun
        seed = config.seed if config.sweep.seed is None else config.sweep.seed
        try:
            name = resolved_search(config.sweep)
            self._search: Search = new_search(
                name, Space(config), seed, begun.direction, is_distinct=begun.is_distinct
            )
            self._open = self._replayed()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the journal."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def standing(self) -> Standing:
        """How the sweep stands."""
        return standing_of(self._journal.records)

    @property
    def elapsed_seconds(self) -> float:
        """Seconds that the sweep had taken when its journal was last written."""
        return self._journal.elapsed_seconds

    @property
    def max_seconds(self) -> float:
        """Seconds that it may take, else infinity."""
        return math.inf if self._sweep.max_seconds is None else self._sweep.max_seconds

    def next_batch(self, elapsed_seconds: float) -> Batch | None:
        """What is to be trained: what a former process left, else the next trials; None at the end."""
        if self._open:
            left, self._open = self._open, ()
            return Batch(left)
        asked = len(self.standing().rows)
        most = resolved_trials(self._sweep)
        size = self.begun.batch_size
        # There are fewer than were asked for where sweep.trials was lowered since.
        settings = self._search.ask(size if most is None else max(0, min(size, most - asked)))
        if not settings:
            return None
        trials = tuple(Trial(asked + index, each) for index, each in enumerate(settings))
        self._journal.write(BatchAsked(trials), elapsed_seconds)
        return Batch(trials)

    def halve(self, batch: Batch, done: EpochDone, elapsed_seconds: float) -> None:
        """Ends the worse trials after an epoch at which that is due, as it was decided if it was."""
        # Those of a pack that is trained again, its worker lost, end at their epoch, not before.
        batch.eliminated.clear()
        halving = self._sweep.halving
        if halving is None or not is_rung(done.epoch, epochs_of(halving.first), halving.factor):
            return
        rung = self._decided(done)
        if rung is None:
            lost = losers(done.objectives, halving.factor, self.begun.direction)
            rung = RungDecided(done.epoch, tuple(sorted(done.objectives)), lost)
            self._journal.write(rung, elapsed_seconds)
        batch.eliminated.update(set(rung.eliminated) & set(done.objectives))

    def _decided(self, done: EpochDone) -> RungDecided | None:
        return next(
            (
                record
                for record in reversed(self._journal.records)
                if isinstance(record, RungDecided)
                and record.epoch == done.epoch
                and set(done.objectives) <= set(record.compared)
            ),
            None,
        )

    def end(self, ended: TrialEnded, elapsed_seconds: float) -> None:
        """Writes down that a trial has ended."""
        self._journal.write(ended, elapsed_seconds)

    def finish_batch(self) -> bool:
        """Tells the search what became of the last batch, if all of it has ended."""
        records = self._journal.records
        last = next(each for each in reversed(records) if isinstance(each, BatchAsked))
        ended = self._ended()
        if any(trial.number not in ended for trial in last.trials):
            return False
        self._search.tell([ended[trial.number] for trial in last.trials])
        return True

    def _ended(self) -> dict[int, TrialEnded]:
        records = self._journal.records
        return {record.number: record for record in records if isinstance(record, TrialEnded)}

    def _replayed(self) -> tuple[Trial, ...]:
        """Asks and tells again what the journal has; the trials that have not ended."""
        ended = self._ended()
        for record in self._journal.records:
            if not isinstance(record, BatchAsked):
                continue
            again = list(self._search.ask(len(record.trials)))
            written: list[Settings] = [trial.settings for trial in record.trials]
            if again != written:
                raise RunError(_other_trials(self.directory.journal, record, again))
            left = [trial for trial in record.trials if trial.number not in ended]
            if left:  # there is no batch after one that has not ended
                return tuple(replace(trial, is_resumed=True) for trial in left)
            self._search.tell([ended[trial.number] for trial in record.trials])
        return ()


def _other_trials(path: Path, record: BatchAsked, again: list[Settings]) -> Problem:
    number, written, now = next(
        (trial.number, dict(trial.settings), settings)
        for trial, settings in zip_longest(record.trials, again)
        if settings != trial.settings
    )
    return Problem(
        where=str(path),
        expected=f"as trial {number} the one that sweep.yaml leads to, "
        f"{'none' if now is None else dict(now)}",
        found=str(written),
        fix="sweep.yaml or the version of a package was changed; undo it, or begin another sweep",
    )


def run_study(
    study: Study, train: Train, clock: Callable[[], float] = time.monotonic
) -> Iterator[StudyEvent]:
    """Trains the trials of a sweep, from where it stands to its end; what happens is yielded.

    Args:
        study: The sweep.
        train: Trains a batch; what it raises ends this process's part.
        clock: Seconds.
    """
    start = clock() - study.elapsed_seconds
    while clock() - start < study.max_seconds:
        batch = study.next_batch(clock() - start)
        if batch is None:
            yield StudyEnded("trials")
            return
        yield BatchBegun(batch.trials)
        with closing(train(batch)) as events:
            for event in events:
                elapsed = clock() - start
                match event:
                    case EpochDone():
                        study.halve(batch, event, elapsed)
                    case TrialEnded():
                        study.end(event, elapsed)
                batch.is_stopped = elapsed >= study.max_seconds
                yield event
        if not study.finish_batch():
            yield StudyEnded("seconds" if batch.is_stopped else "interrupted")
            return
    yield StudyEnded("seconds")
