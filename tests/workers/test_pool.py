"""Who does what, and what becomes of the tasks of lost workers; with workers that only pretend."""

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


class Pretender(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Reply] = []
        self.has_ended = False

    def start(self, item: Item) -> None:
        pass

    def reply(self, reply: Reply) -> None:
        self.answers.append(reply)


class Pretenders(WorkerPool[Pretender]):
    """Each says what `script` has for the task it does."""

    def __init__(self, jobs: int, script: dict[str, list], late: int = 0) -> None:
        super().__init__(jobs)
        self.script = {name: iter(said) for name, said in script.items()}
        self.workers = [Pretender() for _ in range(jobs)]
        self.late, self.ended = late, []

    def idle_worker(self) -> Pretender | None:
        if self.late:
            self.late -= 1
            return None
        if len(self._busy()) == self.jobs:
            return None
        free = [one for one in self.workers if one.item is None]
        if not free:
            free = [Pretender()]
            self.workers += free
        return free[0]

    def receive(self, busy: Sequence[Pretender]) -> list:
        return [
            (one, next(self.script[one.item.directory.name], ItemDone()))
            for one in busy
            if one.item
        ]

    def kill(self, workers: Sequence[Pretender]) -> None:
        self.ended += workers


def run(
    crew: Pretenders, names: Sequence[str], interrupted: Callable[[], str | None] = lambda: None
):
    told, working = [], crew.run((item(name) for name in names), interrupted)
    while True:
        try:
            told.append(next(working))
        except StopIteration as over:
            return told, over.value


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_all_are_done(jobs: int) -> None:
    crew = Pretenders(jobs, {"a": [EPOCH, EPOCH], "b": [EPOCH], "c": []})
    assert run(crew, "abc") == ([EPOCH] * 3, None)
    crew.close()
    assert (crew.workers, len(crew.ended)) == ([], jobs)


def test_workers_that_are_not_there_yet_are_waited_for() -> None:
    assert run(Pretenders(1, {"a": [EPOCH]}, late=5), "a") == ([EPOCH], None)


@pytest.mark.parametrize("losses", range(ATTEMPTS))
def test_the_task_of_a_lost_worker_is_given_to_another(losses: int) -> None:
    crew = Pretenders(2, {"a": [EPOCH, WorkerLost("gone")] * losses + [EPOCH], "b": []})
    told, stopped = run(crew, "ab")
    assert (len(told), stopped) == (losses + 1, None)
    assert len(crew.ended) == losses


def test_but_not_for_ever() -> None:
    crew = Pretenders(1, {"a": [WorkerLost("a power cut")] * ATTEMPTS})
    with pytest.raises(ResourceError, match=f"a power cut, {ATTEMPTS} times") as wrong:
        run(crew, "a")
    assert wrong.value.problems[0].where == "packs/a"
    assert len(crew.ended) == ATTEMPTS


def test_told_to_stop_who_has_trained_saves_and_the_others_are_ended() -> None:
    asked: list[None] = []

    def interrupted() -> str | None:
        asked.append(None)
        return "Ctrl-C" if len(asked) == 2 else None

    crew = Pretenders(2, {"a": [EPOCH] * 4, "b": [WorkerLost("too early")], "c": []})
    crew.script["b"] = iter([EPOCH] * 4)
    crew.receive, receive = (  # type: ignore[method-assign]
        lambda busy: receive([one for one in busy if one.item.directory.name != "b"]),
        crew.receive,
    )
    told, stopped = run(crew, "abc", interrupted)
    assert (told, stopped) == ([EPOCH] * 4, "Ctrl-C")
    (untrained,) = crew.ended
    assert untrained.item == item("b")
    (trained,) = crew.workers
    assert [reply.stop for reply in trained.answers] == [None, None, "Ctrl-C", "Ctrl-C", "Ctrl-C"]
    assert [reply.is_epoch_reply for reply in trained.answers].count(False) == 1


def test_what_is_wrong_with_one_stops_the_others_and_is_raised() -> None:
    problem = Problem("x.csv", "rows", "none")
    crew = Pretenders(
        2, {"a": [EPOCH] * 3, "b": [EPOCH, ItemDone(error=DataError, problems=(problem,))]}
    )
    with pytest.raises(DataError, match=r"x\.csv"):
        run(crew, "abc")
    with pytest.raises(RuntimeError, match="a traceback"):
        run(Pretenders(1, {"a": [ItemDone(bug="a traceback")]}), "a")
