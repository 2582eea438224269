"""A pool of workers that train work items in parallel, on this machine or others.

After each epoch a worker waits for a reply, so that members can be ended and training stopped. If a
worker is lost, its work item is given to another one and resumes from the last checkpoint.

`processes` and `ray_workers` start workers and communicate with them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from trainer.errors import Problem, ResourceError
from trainer.workers.messages import EndReasons, EpochEvent, Event, ItemDone, Reply, WorkItem

ATTEMPTS = 3
"""Maximum number of attempts at a work item if its workers are lost."""
WAIT_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker has died or cannot be reached."""

    reason: str


class Worker(ABC):
    """A worker, as seen by the pool.

    Attributes:
        item: Its work item, or None.
        has_trained: Whether it has completed an epoch of the item.
        attempt: The number of attempts at the item.
    """

    def __init__(self) -> None:
        self.item: WorkItem | None = None
        self.has_trained = False
        self.attempt = 0

    def assign(self, item: WorkItem, attempt: int) -> None:
        """Assign a work item."""
        self.item, self.has_trained, self.attempt = item, False, attempt
        self.start(item)

    @abstractmethod
    def start(self, item: WorkItem) -> None:
        """Send the work item. If the worker is lost, it is noticed on receiving."""

    @abstractmethod
    def reply(self, reply: Reply) -> None:
        """Send the members to end after the reported epoch, or the reason to stop."""


_Worker = TypeVar("_Worker", bound=Worker)


class WorkerPool(ABC, Generic[_Worker]):
    """Workers that are kept between work items; to be closed."""

    def __init__(self, jobs: int) -> None:
        """Create a pool without workers.

        Args:
            jobs: The number of workers.
        """
        self.jobs = jobs
        self.workers: list[_Worker] = []

    def run(
        self, items: Iterable[WorkItem], interrupted: Callable[[], str | None]
    ) -> Generator[Event, EndReasons | None, str | None]:
        """Run work items; the caller sends the members to end after each `EpochEvent`.

        Args:
            items: The work items in order; each is requested when a worker is idle.
            interrupted: Returns the reason to stop, if there is one.

        Returns:
            Why it was stopped; None if all items are complete.

        Raises:
            TrainerError: An item failed; the others are stopped with checkpoints.
        """
        remaining = ((item, 1) for item in items)
        lost_items: deque[tuple[WorkItem, int]] = deque()
        is_exhausted = False
        stop: str | None = None
        failed: ItemDone | None = None
        while True:
            while stop is None and (lost_items or not is_exhausted):
                worker = self.idle_worker()
                if worker is None:
                    break
                next_item = lost_items.popleft() if lost_items else next(remaining, None)
                if next_item is None:
                    is_exhausted = True
                    break
                worker.assign(*next_item)
            busy = self._busy()
            if not busy and (stop is not None or (is_exhausted and not lost_items)):
                break
            for worker, message in self.receive(busy):
                if isinstance(message, WorkerLost):
                    lost_items.append(self._retry(worker, message))
                    continue
                if isinstance(message, ItemDone):
                    worker.item = None
                    if message.error is not None or message.bug:
                        failed = failed or message
                    continue
                ends = yield message
                if isinstance(message, EpochEvent):
                    worker.has_trained = True
                    worker.reply(Reply(ends or {}, stop))
            if stop is None:
                stop = interrupted() if failed is None else "another pack failed"
                if stop is not None:
                    self._stop_workers(stop)
        if failed is not None and failed.error is not None:
            raise failed.error(failed.problems)
        if failed is not None:
            raise RuntimeError(failed.bug)
        return stop

    def close(self) -> None:
        """End all workers; work in progress resumes from its last checkpoint."""
        workers, self.workers = self.workers, []
        self.kill(workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def idle_worker(self) -> _Worker | None:
        """Return an idle worker, starting one if needed; None at the limit or if none is ready yet."""

    @abstractmethod
    def receive(
        self, busy: Sequence[_Worker]
    ) -> Sequence[tuple[_Worker, Event | ItemDone | WorkerLost]]:
        """Return messages of workers as soon as one arrives; none after `WAIT_SECONDS`."""

    @abstractmethod
    def kill(self, workers: Sequence[_Worker]) -> None:
        """End workers immediately, after which they do not write; packs resume from their last
        checkpoint.
        """

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.item is not None]

    def _stop_workers(self, reason: str) -> None:
        # The others load, read or compile for seconds or minutes and have nothing to save yet.
        untrained = [worker for worker in self._busy() if not worker.has_trained]
        self.workers = [worker for worker in self.workers if worker not in untrained]
        for worker in self._busy():
            worker.reply(Reply(stop=reason, is_epoch_reply=False))
        self.kill(untrained)

    def _retry(self, worker: _Worker, lost: WorkerLost) -> tuple[WorkItem, int]:
        """Remove a lost worker and return its work item and the next attempt."""
        self.workers.remove(worker)
        self.kill([worker])
        assert worker.item is not None
        if worker.attempt == ATTEMPTS:
            raise ResourceError(_lost_problem(worker.item, lost))
        return worker.item, worker.attempt + 1


def _lost_problem(item: WorkItem, lost: WorkerLost) -> Problem:
    names = ", ".join(str(number) for number in item.numbers[:5])
    more = "" if len(item.numbers) <= 5 else f" and {len(item.numbers) - 5} more"
    return Problem(
        where=str(item.directory),
        expected="a running worker",
        found=f"{lost.reason}, {ATTEMPTS} times (networks {names}{more})",
        fix="it may have run out of memory: use fewer --jobs or a smaller fit.batch_size",
    )
