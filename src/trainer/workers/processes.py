"""A pool of worker processes on this machine.

A worker prepares once and runs one work item after another. It exits as soon as its parent process
does.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any

from trainer.workers.messages import Event, ItemDone, Reply, Runner, WorkItem, run_worker
from trainer.workers.pool import WAIT_SECONDS, Worker, WorkerLost, WorkerPool


class ProcessWorkerPool(WorkerPool["WorkerProcess"]):
    """Worker processes on this machine."""

    def __init__(self, jobs: int, make_runner: Callable[[], Runner]) -> None:
        """Start the processes, so that they load TensorFlow while tables are read.

        Args:
            jobs: The number of workers.
            make_runner: A class or function of a module, called in each worker.
        """
        super().__init__(jobs)
        self._make_runner = make_runner
        for _ in range(jobs):
            self.workers.append(WorkerProcess(make_runner))

    def idle_worker(self) -> WorkerProcess | None:
        """Return an idle worker, starting one if needed; None at the limit."""
        if len(self._busy()) == self.jobs:
            return None
        worker = next((worker for worker in self.workers if worker.item is None), None)
        if worker is None:
            worker = WorkerProcess(self._make_runner)
            self.workers.append(worker)
        return worker

    def receive(
        self, busy: Sequence[WorkerProcess]
    ) -> list[tuple[WorkerProcess, Event | ItemDone | WorkerLost]]:
        """Return messages of workers as soon as one arrives; none after `WAIT_SECONDS`."""
        ready = wait([worker.connection for worker in busy], WAIT_SECONDS)
        return [(worker, worker.receive()) for worker in busy if worker.connection in ready]

    def kill(self, workers: Sequence[WorkerProcess]) -> None:
        """Kill the worker processes."""
        for worker in workers:
            worker.kill()


class WorkerProcess(Worker):
    """A worker process, as seen by its parent."""

    def __init__(self, make_runner: Callable[[], Runner]) -> None:
        super().__init__()
        context = get_context("spawn")
        self.connection, child_connection = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(child_connection, make_runner), daemon=True
        )
        with _signals_blocked():
            self._process.start()
        child_connection.close()

    def start(self, item: WorkItem) -> None:
        """Send a work item."""
        self._send(item)

    def reply(self, reply: Reply) -> None:
        """Send a reply."""
        self._send(reply)

    def receive(self) -> Event | ItemDone | WorkerLost:
        """Return its next message."""
        try:
            message: Event | ItemDone = self.connection.recv()
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


def _serve(connection: Connection, make_runner: Callable[[], Runner]) -> None:
    """Run work items in the worker process until the connection closes."""
    Thread(target=_end_with_parent, daemon=True).start()
    run_worker(connection, make_runner())


def _end_with_parent() -> None:
    """End this process when its parent ends.

    A compilation or an epoch can take minutes, and meanwhile another process may resume in the same
    directories.
    """
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)
