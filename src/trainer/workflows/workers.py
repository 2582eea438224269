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

from trainer.workflows.crew import WAIT_SECONDS, Crew, Lost, Worker
from trainer.workflows.many import Ends, Task, work
from trainer.workflows.plan import Tables
from trainer.workflows.task_talk import Answer, Done, serve

if TYPE_CHECKING:
    from trainer.workflows.pack_events import PackEvent


def run_here(
    tasks: Iterable[Task], tables: Tables, interrupted: Callable[[], str | None]
) -> Generator[PackEvent, Ends | None, str | None]:
    """Do the tasks one after the other, in this process; as `Workers.run`."""
    for task in tasks:
        # Before TensorFlow is loaded, or the next pack compiled.
        reason = interrupted() or (yield from work(task, tables, interrupted))
        if reason is not None:
            return reason
    return None


class Workers(Crew["Process"]):
    """Processes on this machine."""

    def __init__(self, jobs: int) -> None:
        """Start them: they load TensorFlow while others read tables."""
        super().__init__(jobs)
        for _ in range(jobs):
            self.all.append(Process())

    def idle(self) -> Process | None:
        """As in `Crew`."""
        if len(self._busy()) == self.jobs:
            return None
        there = next((one for one in self.all if one.task is None), None)
        if there is None:
            there = Process()
            self.all.append(there)
        return there

    def heard(self, busy: Sequence[Process]) -> list[tuple[Process, PackEvent | Done | Lost]]:
        """As in `Crew`."""
        ready = wait([one.connection for one in busy], WAIT_SECONDS)
        return [(one, one.hear()) for one in busy if one.connection in ready]

    def end(self, workers: Sequence[Process]) -> None:
        """As in `Crew`."""
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

    def begin(self, task: Task) -> None:
        """As in `Worker`."""
        self._tell(task)

    def answer(self, answer: Answer) -> None:
        """As in `Worker`."""
        self._tell(answer)

    def hear(self) -> PackEvent | Done | Lost:
        """What it says next."""
        try:
            said: PackEvent | Done = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            # Negative for a signal.
            return Lost(f"its exit code {self._process.exitcode}")
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
    serve(connection, Tables())


def _end_with_parent() -> None:
    """Ends this process with the one that started it: a compilation or an epoch may take minutes, and
    another may go on in the same directories meanwhile.
    """
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)
