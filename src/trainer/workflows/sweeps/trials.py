"""Train the trials of a sweep as members of packs, report their progress, and end them early.

`trainer.sweep` chooses the trials; `packed.work_items` and `trainer.workers` train them.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from trainer.config.sweep_loading import trial_config
from trainer.data.splits import SplitName
from trainer.engine.events import EpochEnd
from trainer.errors import ConfigError
from trainer.runs.directory import RunDirectory
from trainer.runs.log import read_log
from trainer.sweep.halving import ranked
from trainer.sweep.study import Study
from trainer.sweep.trials import (
    Batch,
    BatchPlanned,
    BestEpoch,
    Trial,
    TrialEnded,
    TrialPackEpoch,
    TrialPackStarted,
    TrialStatus,
)
from trainer.workers.pool import WorkerPool
from trainer.workflows.events import MemberEnded, PackEpochEnded, PackStarted
from trainer.workflows.packed.pack_schedule import RunSpec
from trainer.workflows.packed.work_items import ItemSettings, plan_work_items, run_in_process
from trainer.workflows.plan import TableCache
from trainer.workflows.session import Session

if TYPE_CHECKING:
    from trainer.sweep.trials import TrialEvent

_ELIMINATED = "eliminated by halving"
_TIME_OVER = "sweep.max_seconds has passed"
_SPLITS: tuple[SplitName, ...] = ("train", "validation")
"""Only the best trial is evaluated on test rows."""


class TrialTrainer:
    """Trains batches of trials (`trainer.sweep.trials.Train`)."""

    def __init__(
        self,
        study: Study,
        tables: TableCache,
        workers: WorkerPool[Any] | None,
        threads: int,
        session: Session,
    ) -> None:
        self._study, self._directory, self._loaded = study, study.directory, study.loaded
        self._tables, self._workers, self._session = tables, workers, session
        self._settings = ItemSettings(session.command, _SPLITS, session.allow_custom, threads)
        self._best: dict[int, BestEpoch] = {}

    def trial_specs(self) -> Iterator[RunSpec]:
        """Yield the configs of earlier trials as they would be trained now, except invalid ones."""
        for row in self._study.leaderboard().rows:
            try:
                spec = self._spec(row.trial)
            except ConfigError:
                continue
            yield spec

    def train(self, batch: Batch) -> Generator[TrialEvent, None, None]:
        """Train a batch of trials."""
        start_time = perf_counter()
        unfinished = {trial.number for trial in batch.trials}
        specs = []
        for trial in batch.trials:
            try:
                specs.append(self._spec(trial))
            except ConfigError as error:
                yield self._failed(trial.number, str(error.problems[0]), start_time)
        packs = self._directory.path / "packs"
        packs.mkdir(exist_ok=True)
        plan, items, ended = plan_work_items(
            specs,
            packs,
            self._tables,
            self._settings,
            spec_of=self._spec_of,
            jobs=self._study.header.jobs,
        )
        yield BatchPlanned(batch.trials, str(plan))
        pack_numbers: dict[tuple[int, ...], int] = {}
        for member in ended:
            yield self._ended(member, start_time)
        # Packs that have not started when time runs out are skipped.
        runnable = (item for item in items if not batch.is_stopped)
        events = (
            run_in_process(runnable, self._tables, self._session.interrupted)
            if self._workers is None
            else self._workers.run(runnable, self._session.interrupted)
        )
        to_end: Mapping[int, str] | None = None
        while True:
            try:
                event = events.send(to_end)
            except StopIteration:
                return
            to_end = None
            if isinstance(event, PackStarted):
                # The pack of a lost worker is restarted by another one.
                pack_number = pack_numbers.setdefault(event.numbers, len(pack_numbers) + 1)
                yield TrialPackStarted(pack_number, len(items), event.numbers, event.epoch)
            elif isinstance(event, PackEpochEnded):
                yield TrialPackEpoch(
                    event.epoch,
                    {
                        number: self._objective(result.metrics)
                        for number, result in event.results.items()
                    },
                    self._best_so_far(event.results),
                )
                to_end = _trials_to_end(batch, event.results)
            elif isinstance(event, MemberEnded) and event.number in unfinished:
                # The replacement of a lost worker reports members again.
                unfinished.remove(event.number)
                yield self._ended(event, start_time)

    def _spec(self, trial: Trial) -> RunSpec:
        config = trial_config(self._loaded, trial.settings)
        return RunSpec(
            trial.number, replace(self._loaded, config=config), self._directory.trial(trial.number)
        )

    def _spec_of(self, number: int) -> RunSpec | None:
        rows = {row.trial.number: row.trial for row in self._study.leaderboard().rows}
        return self._spec(rows[number]) if number in rows else None

    def _best_so_far(self, results: Mapping[int, EpochEnd]) -> dict[int, BestEpoch]:
        for number, result in results.items():
            if result.epoch > 1 and number not in self._best:
                self._best |= self._best_logged(number, result.epoch)
            if result.improved:
                self._best[number] = BestEpoch(self._objective(result.metrics), result.epoch)
        return {number: self._best[number] for number in results if number in self._best}

    def _best_logged(self, number: int, before: int) -> dict[int, BestEpoch]:
        """Return the best epoch of a resumed trial before this one; {} if there is none."""
        name = self._study.header.objective
        epochs = {
            record["epoch"]: float(record[name])
            for record in read_log(RunDirectory(self._directory.trial(number)).metrics)
            if record.get("epoch", before) < before and record.get(name) is not None
        }
        best = next(iter(ranked(epochs, self._study.header.direction)), None)
        return {} if best is None else {number: BestEpoch(epochs[best], best)}

    def _objective(self, metrics: Mapping[str, float]) -> float:
        name = self._study.header.objective
        return metrics[name] if name in metrics else math.nan

    def _failed(self, number: int, reason: str, start_time: float) -> TrialEnded:
        seconds = perf_counter() - start_time
        return TrialEnded(number, "failed", math.nan, 0, None, None, seconds, reason)

    def _ended(self, member: MemberEnded, start_time: float) -> TrialEnded:
        if member.status == "failed":
            reason = str(member.problems[0]) if member.problems else member.stopped_because
            failed = self._failed(member.number, reason, start_time)
            return replace(failed, epochs=member.epochs, run=self._relative(member.run))
        status: TrialStatus = "finished"
        if member.stopped_because == _ELIMINATED:
            status = "eliminated"
        elif member.stopped_because == _TIME_OVER:
            status = "stopped"
        return TrialEnded(
            number=member.number,
            status=status,
            objective=self._objective(member.best),
            epochs=member.epochs,
            best_epoch=member.best_epoch or None,
            run=self._relative(member.run),
            seconds=perf_counter() - start_time,
        )

    def _relative(self, run: Path) -> str | None:
        return str(run.relative_to(self._directory.path)) if run.is_dir() else None


def _trials_to_end(batch: Batch, training: Iterable[int]) -> dict[int, str]:
    """Return which of the trials in training end now, and why."""
    ends = dict.fromkeys(training, _TIME_OVER) if batch.is_stopped else {}
    return ends | dict.fromkeys(batch.eliminated & set(training), _ELIMINATED)
