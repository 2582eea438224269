"""Folders with networks to be trained in packs, here, by workers, or by whoever a test has."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

from tests.kill.comparison import differences
from trainer.config.load import load_config
from trainer.workflows.pack_events import MemberEnded, PackEpochEnded
from trainer.workflows.pack_schedule import RunSpec
from trainer.workflows.plan import TableCache
from trainer.workflows.work_items import plan_work_items
from trainer.workflows.worker_pool import WorkerPool
from trainer.workflows.worker_processes import ProcessWorkerPool, run_in_process

CONFIG = """\
name: packed
seed: 3
data:
  source: small.csv
  target: label
  features: {exclude: [id]}
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
    """A folder with networks to be trained."""

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
        after: int | None = None,
        abandon: int | None = None,
        ends: Callable[[int], Ends] = lambda epoch: {},
        crew: Callable[[TableCache], WorkerPool] | None = None,
        stop_if: Callable[[], bool] = lambda: False,
    ) -> list[MemberEnded]:
        """Train what is left.

        Args:
            jobs: Worker processes; 0 for this one.
            after: Asked so often whether to stop, the answer is yes.
            abandon: Left alone after so many epochs, as if it were killed.
            ends: Members to end after an epoch.
            crew: Who trains, given the tables that were read; instead of `jobs`.
            stop_if: Whether to stop, besides `after`.
        """
        asked = count(1)
        tables = TableCache()
        (self.path / "packs").mkdir(exist_ok=True)
        _, tasks, ended = plan_work_items(
            [self.spec(number) for number in range(len(self._members))],
            self.path / "packs",
            tables,
            spec_of=self.spec,
            jobs=max(1, jobs),
            threads=1,
            command=("trainer", "sweep"),
            splits=SPLITS,
            allow_custom=False,
        )

        def interrupted() -> str | None:
            has_ended = after is not None and next(asked) >= after
            return "stopped" if has_ended or stop_if() else None

        workers = crew(tables) if crew is not None else ProcessWorkerPool(jobs) if jobs else None
        working = (
            run_in_process(tasks, tables, interrupted)
            if workers is None
            else workers.run(tasks, interrupted)
        )
        try:
            return self._follow(working, ended, abandon, ends)
        finally:
            if workers is not None:
                workers.close()

    def _follow(self, working, ended, abandon, ends) -> list[MemberEnded]:
        epochs, answer = 0, None
        while True:
            try:
                event = working.send(answer)
            except StopIteration:
                return sorted(ended, key=lambda one: one.number)
            answer = None
            if isinstance(event, MemberEnded):
                ended.append(event)
            if isinstance(event, PackEpochEnded):
                epochs += 1
                answer = ends(event.epoch)
                if epochs == abandon:
                    working.close()
                    return ended


def assert_same(folder: Folder, undisturbed: Folder, numbers: range = range(len(MEMBERS))) -> None:
    for number in numbers:
        own, other = folder.run(number), undisturbed.run(number)
        assert differences(own, other) == []
