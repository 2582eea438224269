"""Tasks given to those who do them side by side, wherever they are.

A worker does task after task. After each epoch it waits for word, so that members can be ended and
training stopped. A worker that is lost takes nothing with it: its task is given to another, which goes
on from the last checkpoint.

Owns: who does what, how often it is tried, what is made of a loss. Does not own: processes and how one
speaks with them (`workers`, `cluster`), the other side (`task_talk`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from trainer.errors import Problem, ResourceError
from trainer.workflows.pack_events import PackEpochEnded
from trainer.workflows.work_items import EndReasons, WorkItem
from trainer.workflows.worker_messages import ItemDone, Reply

if TYPE_CHECKING:
    from trainer.workflows.pack_events import PackEvent

ATTEMPTS = 3
"""So often a task is begun whose worker is lost."""
WAIT_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker has died, or is out of reach."""

    how: str


class Worker(ABC):
    """One who does tasks, as seen by the one who gives them.

    Attributes:
        item: What it does, or None.
        has_trained: It has told of an epoch of its task.
        attempt: How often the task was begun.
    """

    def __init__(self) -> None:
        self.item: WorkItem | None = None
        self.has_trained = False
        self.attempt = 0

    def give(self, item: WorkItem, attempt: int) -> None:
        """Let it do a task."""
        self.item, self.has_trained, self.attempt = item, False, attempt
        self.begin(item)

    @abstractmethod
    def begin(self, item: WorkItem) -> None:
        """Hand the task over. That a worker is lost is found out when it is listened to."""

    @abstractmethod
    def reply(self, reply: Reply) -> None:
        """Say what is to become of the members that told of an epoch, or to stop."""


_Worker = TypeVar("_Worker", bound=Worker)


class WorkerPool(ABC, Generic[_Worker]):
    """Workers that are kept between tasks; to be closed."""

    def __init__(self, jobs: int) -> None:
        """Begin without any.

        Args:
            jobs: So many work at a time.
        """
        self.jobs = jobs
        self.all: list[_Worker] = []

    def run(
        self, items: Iterable[WorkItem], interrupted: Callable[[], str | None]
    ) -> Generator[PackEvent, EndReasons | None, str | None]:
        """Do tasks; takes the members that are to be ended after each `PackEpochEnded`.

        Args:
            items: Begun in their order, each asked for when it can be.
            interrupted: Whether to stop, and why.

        Returns:
            Why it was stopped; None when all is done.

        Raises:
            TrainerError: A task could not go on; the others are stopped, with checkpoints.
        """
        left = ((item, 1) for item in items)
        lost: deque[tuple[WorkItem, int]] = deque()
        is_all_given = False
        stop: str | None = None
        wrong: ItemDone | None = None
        while True:
            while stop is None and (lost or not is_all_given):
                idle_worker = self.idle_worker()
                if idle_worker is None:
                    break
                waiting = lost.popleft() if lost else next(left, None)
                if waiting is None:
                    is_all_given = True
                    break
                idle_worker.give(*waiting)
            busy = self._busy()
            if not busy and (stop is not None or (is_all_given and not lost)):
                break
            for worker, said in self.receive(busy):
                if isinstance(said, WorkerLost):
                    lost.append(self._replaced(worker, said))
                    continue
                if isinstance(said, ItemDone):
                    worker.item = None
                    if said.error is not None or said.bug:
                        wrong = wrong or said
                    continue
                ends = yield said
                if isinstance(said, PackEpochEnded):
                    worker.has_trained = True
                    worker.reply(Reply(ends or {}, stop))
            if stop is None:
                stop = interrupted() if wrong is None else "another pack could not go on"
                if stop is not None:
                    self._tell_to_stop(stop)
        if wrong is not None and wrong.error is not None:
            raise wrong.error(wrong.problems)
        if wrong is not None:
            raise RuntimeError(wrong.bug)
        return stop

    def close(self) -> None:
        """End them; the pack of one that still works goes on from its last checkpoint."""
        everyone, self.all = self.all, []
        self.end(everyone)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def idle_worker(self) -> _Worker | None:
        """One that has nothing to do, be it new; None when so many work as may, or none is there yet."""

    @abstractmethod
    def receive(
        self, busy: Sequence[_Worker]
    ) -> Sequence[tuple[_Worker, PackEvent | ItemDone | WorkerLost]]:
        """What some of them say, as soon as one does; after `WAIT_SECONDS` nothing."""

    @abstractmethod
    def end(self, workers: Sequence[_Worker]) -> None:
        """End workers, whatever they do: what one has of a pack goes on from the last checkpoint. When
        it returns they write no more.
        """

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self.all if worker.item is not None]

    def _tell_to_stop(self, reason: str) -> None:
        # Others load, read or compile, for seconds or minutes, and have nothing to save yet.
        useless = [worker for worker in self._busy() if not worker.has_trained]
        self.all = [worker for worker in self.all if worker not in useless]
        for worker in self._busy():
            worker.reply(Reply(stop=reason, is_epoch_reply=False))
        self.end(useless)

    def _replaced(self, worker: _Worker, lost: WorkerLost) -> tuple[WorkItem, int]:
        """The task of a worker that is lost, and how often it will have been begun."""
        self.all.remove(worker)
        self.end([worker])
        assert worker.item is not None
        if worker.attempt == ATTEMPTS:
            raise ResourceError(_lost(worker.item, lost))
        return worker.item, worker.attempt + 1


def _lost(item: WorkItem, lost: WorkerLost) -> Problem:
    names = ", ".join(str(spec.number) for spec in item.specs[:5])
    more = "" if len(item.specs) <= 5 else f" and {len(item.specs) - 5} more"
    return Problem(
        where=str(item.directory),
        expected="a worker that lives",
        found=f"{lost.how}, {ATTEMPTS} times (networks {names}{more})",
        fix="it may have run out of memory: take fewer --jobs, or a smaller fit.batch_size",
    )
