"""Which worker runs which item, and what happens to the items of lost workers; workers are fakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainer.errors import DataError, Problem, ResourceError
from trainer.workers.messages import EpochEvent, ItemDone, Reply
from trainer.workers.pool import ATTEMPTS, Worker, WorkerLost, WorkerPool

EPOCH = EpochEvent()


@dataclass(frozen=True)
class Item:
    directory: Path
    numbers: tuple[int, ...] = ()
    locks: tuple[Path, ...] = ()


def item(name: str = "0001") -> Item:
    return Item(Path("packs") / name)


class FakeWorker(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.replies: list[Reply] = []

    def start(self, item: Item) -> None:
        pass

    def reply(self, reply: Reply) -> None:
        self.replies.append(reply)


class FakePool(WorkerPool[FakeWorker]):
    """A pool whose workers send the messages that `script` has for their item, then `ItemDone`.

    The first `delay` calls of `idle_worker` find none.
    """

    def __init__(self, jobs: int, script: dict[str, list], delay: int = 0) -> None:
        super().__init__(jobs)
        self.script = {name: iter(messages) for name, messages in script.items()}
        self.workers = [FakeWorker() for _ in range(jobs)]
        self.delay, self.killed = delay, []

    def idle_worker(self) -> FakeWorker | None:
        if self.delay:
            self.delay -= 1
            return None
        if len(self._busy()) == self.jobs:
            return None
        idle = [worker for worker in self.workers if worker.item is None]
        if not idle:
            idle = [FakeWorker()]
            self.workers += idle
        return idle[0]

    def receive(self, busy: Sequence[FakeWorker]) -> list:
        return [
            (worker, next(self.script[worker.item.directory.name], ItemDone()))
            for worker in busy
            if worker.item
        ]

    def kill(self, workers: Sequence[FakeWorker]) -> None:
        self.killed += workers


def run(pool: FakePool, names: Sequence[str], interrupted: Callable[[], str | None] = lambda: None):
    """Return the events of running the items, and why the run was stopped, if it was."""
    events, running = [], pool.run((item(name) for name in names), interrupted)
    while True:
        try:
            events.append(next(running))
        except StopIteration as end:
            return events, end.value


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_every_item_is_run(jobs: int) -> None:
    pool = FakePool(jobs, {"a": [EPOCH, EPOCH], "b": [EPOCH], "c": []})
    assert run(pool, "abc") == ([EPOCH] * 3, None)
    pool.close()
    assert (pool.workers, len(pool.killed)) == ([], jobs)


def test_run_waits_for_the_first_idle_worker() -> None:
    assert run(FakePool(1, {"a": [EPOCH]}, delay=5), "a") == ([EPOCH], None)


@pytest.mark.parametrize("losses", range(ATTEMPTS))
def test_item_of_a_lost_worker_is_given_to_another(losses: int) -> None:
    pool = FakePool(2, {"a": [EPOCH, WorkerLost("gone")] * losses + [EPOCH], "b": []})
    events, stopped = run(pool, "ab")
    assert (len(events), stopped) == (losses + 1, None)
    assert len(pool.killed) == losses


def test_item_fails_after_several_lost_workers() -> None:
    pool = FakePool(1, {"a": [WorkerLost("a power cut")] * ATTEMPTS})
    with pytest.raises(ResourceError, match=f"a power cut, {ATTEMPTS} times") as error:
        run(pool, "a")
    assert error.value.problems[0].where == "packs/a"
    assert len(pool.killed) == ATTEMPTS


def test_interrupt_stops_trained_workers_after_saving_and_kills_the_others() -> None:
    calls: list[None] = []

    def interrupted() -> str | None:
        calls.append(None)
        return "Ctrl-C" if len(calls) == 2 else None

    pool = FakePool(2, {"a": [EPOCH] * 4, "b": [EPOCH] * 4, "c": []})
    pool.receive, receive = (  # type: ignore[method-assign]
        lambda busy: receive([worker for worker in busy if worker.item.directory.name != "b"]),
        pool.receive,
    )
    events, stopped = run(pool, "abc", interrupted)
    assert (events, stopped) == ([EPOCH] * 4, "Ctrl-C")
    (untrained,) = pool.killed
    assert untrained.item == item("b")
    (trained,) = pool.workers
    assert [reply.stop for reply in trained.replies] == [None, None, "Ctrl-C", "Ctrl-C", "Ctrl-C"]
    assert [reply.is_epoch_reply for reply in trained.replies].count(False) == 1


def test_error_of_an_item_stops_the_others_and_is_raised() -> None:
    problem = Problem("x.csv", "rows", "none")
    pool = FakePool(
        2, {"a": [EPOCH] * 3, "b": [EPOCH, ItemDone(error=DataError, problems=(problem,))]}
    )
    with pytest.raises(DataError, match=r"x\.csv"):
        run(pool, "abc")
    with pytest.raises(RuntimeError, match="a traceback"):
        run(FakePool(1, {"a": [ItemDone(bug="a traceback")]}), "a")
