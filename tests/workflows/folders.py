"""Folders of runs that train as packs: in this process, in worker processes or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

from tests.kill.comparison import differences
from trainer.config.load import load_config
from trainer.workers.pool import WorkerPool
from trainer.workers.processes import ProcessWorkerPool
from trainer.workflows.events import MemberEnded, PackEpochEnded
from trainer.workflows.packed.pack_schedule import RunSpec
from trainer.workflows.packed.work_items import (
    ItemRunner,
    ItemSettings,
    plan_work_items,
    run_in_process,
)
from trainer.workflows.plan import TableCache

CONFIG = """\
name: packed
seed: 3
data:
  source: small.csv
  target: label
  features: {exclude: [id]}
  categorical: {encode: embedding}
  split: {seed: 1, test: 0.2, validation: 0.2}
model:
  layers:
    - dense: {units: 6, activation: relu}
    - batch_normalization
    - dropout: 0.1
optimizer: {name: adamw, learning_rate: 0.03, ema: 0.9}
fit: {epochs: 12, batch_size: 16, class_weight: balanced, checkpoint: {every: 2 epochs}}
"""
MEMBERS = [
    ["seed=1", "fit.early_stopping={patience: 1, min_delta: 10}"],
    ["seed=2", "fit.early_stopping.patience=1"],
    ["optimizer.schedule=cosine"],
    ["optimizer.schedule=null", "fit.reduce_on_plateau.patience=1"],
    ["model.layers.2.dropout.rate=0.3", "fit.early_stopping={patience: 2, restore_best: false}"],
]
SPLITS = ("train", "validation", "test")
Ends = dict[int, str]


class Folder:
    """The run directories of several overrides of one config."""

    def __init__(self, path: Path, config: Path, members: list[list[str]] = MEMBERS) -> None:
        self.path, self.config = path, config
        path.mkdir(exist_ok=True)
        self._members = members

    def spec(self, number: int) -> RunSpec:
        config = load_config(self.config, self._members[number])
        return RunSpec(number, config, self.run(number))

    def run(self, number: int) -> Path:
        return self.path / f"{number:04d}"

    def train(
        self,
        *,
        jobs: int = 0,
        stop_after: int | None = None,
        abandon_after: int | None = None,
        ends: Callable[[int], Ends] = lambda epoch: {},
        pool: Callable[[TableCache], WorkerPool] | None = None,
        stop_if: Callable[[], bool] = lambda: False,
    ) -> list[MemberEnded]:
        """Train the runs that have not finished.

        Args:
            jobs: Number of worker processes; 0 trains in this process.
            stop_after: Interrupt training at this check for an interruption.
            abandon_after: Number of epochs after which training is dropped, as by a kill.
            ends: Return the members to end after an epoch, with the reasons.
            pool: Make the worker pool that trains, from the tables; replaces `jobs`.
            stop_if: Return whether to interrupt training, besides `stop_after`.
        """
        checks = count(1)
        tables = TableCache()
        (self.path / "packs").mkdir(exist_ok=True)
        _, tasks, ended = plan_work_items(
            [self.spec(number) for number in range(len(self._members))],
            self.path / "packs",
            tables,
            ItemSettings(("trainer", "sweep"), SPLITS, allow_custom=False, threads=1),
            spec_of=self.spec,
            jobs=max(1, jobs),
        )

        def interrupted() -> str | None:
            is_due = stop_after is not None and next(checks) >= stop_after
            return "stopped" if is_due or stop_if() else None

        workers = (
            pool(tables)
            if pool is not None
            else ProcessWorkerPool(jobs, ItemRunner)
            if jobs
            else None
        )
        events = (
            run_in_process(tasks, tables, interrupted)
            if workers is None
            else workers.run(tasks, interrupted)
        )
        try:
            return self._follow(events, ended, abandon_after, ends)
        finally:
            if workers is not None:
                workers.close()

    def _follow(self, events, ended, abandon_after, ends) -> list[MemberEnded]:
        epochs, reply = 0, None
        while True:
            try:
                event = events.send(reply)
            except StopIteration:
                return sorted(ended, key=lambda member: member.number)
            reply = None
            if isinstance(event, MemberEnded):
                ended.append(event)
            if isinstance(event, PackEpochEnded):
                epochs += 1
                reply = ends(event.epoch)
                if epochs == abandon_after:
                    events.close()
                    return ended


def assert_same(
    folder: Folder, other: Folder, numbers: Iterable[int] = range(len(MEMBERS))
) -> None:
    """Assert that the run directories are equal, byte for byte."""
    for number in numbers:
        assert differences(folder.run(number), other.run(number)) == []
