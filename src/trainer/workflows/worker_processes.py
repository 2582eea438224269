"""Worker processes that train packs side by side, and the same in this process.

A worker loads TensorFlow once and does task after task. It ends at once when the process that started it
does.

Owns: the processes and their pipes. Does not own: what is said (`task_talk`), who does what (`crew`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import TYPE_CHECKING, Any

from trainer.workflows.plan import TableCache
from trainer.workflows.work_items import EndReasons, WorkItem, run_work_item
from trainer.workflows.worker_messages import ItemDone, Reply, run_worker
from trainer.workflows.worker_pool import WAIT_SECONDS, Worker, WorkerLost, WorkerPool

if TYPE_CHECKING:
    from trainer.workflows.pack_events import PackEvent


def run_in_process(
    items: Iterable[WorkItem], tables: TableCache, interrupted: Callable[[], str | None]
) -> Generator[PackEvent, EndReasons | None, str | None]:
    """Do the tasks one after the other, in this process; as `ProcessWorkerPool.run`."""
    for item in items:
        # Before TensorFlow is loaded, or the next pack compiled.
        reason = interrupted() or (yield from run_work_item(item, tables, interrupted))
        if reason is not None:
            return reason
    return None


class ProcessWorkerPool(WorkerPool["Process"]):
    """Processes on this machine."""

    def __init__(self, jobs: int) -> None:
        """Start them: they load TensorFlow while others read tables."""
        super().__init__(jobs)
        for _ in range(jobs):
            self.all.append(Process())

    def idle_worker(self) -> Process | None:
        """As in `WorkerPool`."""
        if len(self._busy()) == self.jobs:
            return None
        there = next((one for one in self.all if one.item is None), None)
        if there is None:
            there = Process()
            self.all.append(there)
        return there

    def receive(
        self, busy: Sequence[Process]
    ) -> list[tuple[Process, PackEvent | ItemDone | WorkerLost]]:
        """As in `WorkerPool`."""
        ready = wait([one.connection for one in busy], WAIT_SECONDS)
        return [(one, one.receive()) for one in busy if one.connection in ready]

    def end(self, workers: Sequence[Process]) -> None:
        """As in `WorkerPool`."""
        for worker in workers:
            worker.end()


class Process(Worker):
    """A worker process, seen from the one that started it."""

    def __init__(self) -> None:
        super().__init__()
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _signals_held():
            self._process.start()
        theirs.close()

    def begin(self, item: WorkItem) -> None:
        """As in `Worker`."""
        self._tell(item)

    def reply(self, reply: Reply) -> None:
        """As in `Worker`."""
        self._tell(reply)

    def receive(self) -> PackEvent | ItemDone | WorkerLost:
        """What it says next."""
        try:
            said: PackEvent | ItemDone = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            # Negative for a signal.
            return WorkerLost(f"its exit code {self._process.exitcode}")
        return said

    def end(self) -> None:
        """Kill it; idle, it has nothing to lose, and may be loading TensorFlow for seconds to come."""
        self._process.kill()
        self.connection.close()
        self._process.join()

    def _tell(self, message: Any) -> None:
        try:
            self.connection.send(message)
        except OSError:
            return


@contextmanager
def _signals_held() -> Iterator[None]:
    """Within it Ctrl-C and SIGTERM wait; a process that is started in it is never told of them: the one
    that started it is, and says when to stop.
    """
    # What Python starts besides the first process ends by no longer holding them.
    resource_tracker.ensure_running()
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _serve(connection: Connection) -> None:
    """In the worker: task after task, until nobody gives any more."""
    Thread(target=_end_with_parent, daemon=True).start()
    run_worker(connection, TableCache())


def _end_with_parent() -> None:
    """Ends this process with the one that started it: a compilation or an epoch may take minutes, and
    another may go on in the same directories meanwhile.
    """
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)
