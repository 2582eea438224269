"""Worker processes that train packs in parallel, and the same in this process.

A worker loads TensorFlow once and trains one work item after the other. It ends as soon as its parent
process does.
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
    """Run the work items one after the other in this process; see `ProcessWorkerPool.run`."""
    for item in items:
        # Check before TensorFlow is loaded or the next pack is compiled.
        reason = interrupted() or (yield from run_work_item(item, tables, interrupted))
        if reason is not None:
            return reason
    return None


class ProcessWorkerPool(WorkerPool["WorkerProcess"]):
    """Worker processes on this machine."""

    def __init__(self, jobs: int) -> None:
        """Start the processes, so that they load TensorFlow while tables are read."""
        super().__init__(jobs)
        for _ in range(jobs):
            self.workers.append(WorkerProcess())

    def idle_worker(self) -> WorkerProcess | None:
        """Return an idle worker, starting one if needed; None at the limit."""
        if len(self._busy()) == self.jobs:
            return None
        worker = next((each for each in self.workers if each.item is None), None)
        if worker is None:
            worker = WorkerProcess()
            self.workers.append(worker)
        return worker

    def receive(
        self, busy: Sequence[WorkerProcess]
    ) -> list[tuple[WorkerProcess, PackEvent | ItemDone | WorkerLost]]:
        """Return messages of workers as soon as one arrives; none after `WAIT_SECONDS`."""
        ready = wait([worker.connection for worker in busy], WAIT_SECONDS)
        return [(worker, worker.receive()) for worker in busy if worker.connection in ready]

    def kill(self, workers: Sequence[WorkerProcess]) -> None:
        """Kill the worker processes."""
        for worker in workers:
            worker.kill()


class WorkerProcess(Worker):
    """A worker process, as seen by its parent."""

    def __init__(self) -> None:
        super().__init__()
        context = get_context("spawn")
        self.connection, child_connection = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_connection,), daemon=True)
        with _signals_blocked():
            self._process.start()
        child_connection.close()

    def start(self, item: WorkItem) -> None:
        """Send a work item."""
        self._send(item)

    def reply(self, reply: Reply) -> None:
        """Send a reply."""
        self._send(reply)

    def receive(self) -> PackEvent | ItemDone | WorkerLost:
        """Return its next message."""
        try:
            message: PackEvent | ItemDone = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            # Negative for a signal.
            return WorkerLost(f"its exit code {self._process.exitcode}")
        return message

    def kill(self) -> None:
        """Kill it without waiting: an idle worker has nothing to lose and may be loading TensorFlow."""
        self._process.kill()
        self.connection.close()
        self._process.join()

    def _send(self, message: Any) -> None:
        try:
            self.connection.send(message)
        except OSError:
            return


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Context manager that blocks SIGINT and SIGTERM.

    Processes started in it never receive them; their parent does and sends them the reason to stop.
    """
    # Starting the resource tracker unblocks the signals, so start it first.
    resource_tracker.ensure_running()
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _serve(connection: Connection) -> None:
    """Run work items in the worker process until the connection closes."""
    Thread(target=_end_with_parent, daemon=True).start()
    run_worker(connection, TableCache())


def _end_with_parent() -> None:
    """End this process with its parent.

    A compilation or an epoch can take minutes, and meanwhile another process may resume in the same
    directories.
    """
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)
