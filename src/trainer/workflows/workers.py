"""Worker processes that train packs side by side, and the same in this process.

A worker loads TensorFlow once and does task after task. After each epoch it waits for word from the one
that started it, so that members can be ended and training stopped; with that one it ends at once. A
worker that dies takes nothing with it: its task is given to another, which goes on from the last
checkpoint.

Owns: the processes and what is said between them. Does not own: the work (`many`).
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

from trainer.engine import devices
from trainer.errors import Problem, ResourceError, TrainerError
from trainer.tracking.trackers import warn_once
from trainer.workflows.many import Ends, Task, work
from trainer.workflows.pack_events import MembersEpoch
from trainer.workflows.plan import Tables

if TYPE_CHECKING:
    from trainer.workflows.pack_events import PackEvent

_ATTEMPTS = 3
"""So often a task is begun whose worker died."""
_WAIT_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a worker is told: members to end, and why to stop.

    Attributes:
        ends: Members to be ended after the epoch that was told of.
        stop: Why to stop, or None.
        is_reply: To an epoch; else it was said in between.
    """

    ends: Ends = field(default_factory=dict)
    stop: str | None = None
    is_reply: bool = True


@dataclass(frozen=True, slots=True)
class _Done:
    """A task is over: stopped for a reason, failed with problems, or done."""

    stopped: str | None = None
    error: type[TrainerError] | None = None
    problems: tuple[Problem, ...] = ()
    bug: str = ""


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


class Workers:
    """Processes that are kept between tasks; to be closed."""

    def __init__(self, jobs: int) -> None:
        """Start them: they load TensorFlow while others read tables.

        Args:
            jobs: So many work at a time.
        """
        self._jobs = jobs
        self._all: dict[Connection, _Worker] = {}
        for _ in range(jobs):
            self._start()

    def run(
        self, tasks: Iterable[Task], interrupted: Callable[[], str | None]
    ) -> Generator[PackEvent, Ends | None, str | None]:
        """Do tasks; takes the members that are to be ended after each `MembersEpoch`.

        Args:
            tasks: Begun in their order, each asked for when it can be.
            interrupted: Whether to stop, and why.

        Returns:
            Why it was stopped; None when all is done.

        Raises:
            TrainerError: A task could not go on; the others are stopped, with checkpoints.
        """
        left = ((task, 1) for task in tasks)
        lost: deque[tuple[Task, int]] = deque()
        stop: str | None = None
        wrong: _Done | None = None
        while True:
            while stop is None and len(self._busy()) < self._jobs:
                waiting = lost.popleft() if lost else next(left, None)
                if waiting is None:
                    break
                idle = next((one for one in self._all.values() if one.task is None), None)
                (idle or self._start()).give(*waiting)
            busy = self._busy()
            if not busy:
                break
            for ready in wait([one.connection for one in busy], _WAIT_SECONDS):
                assert isinstance(ready, Connection)
                worker = self._all[ready]
                try:
                    said = ready.recv()
                except (EOFError, OSError):
                    lost.append(self._replaced(worker))
                    continue
                if isinstance(said, _Done):
                    worker.task = None
                    if said.error is not None or said.bug:
                        wrong = wrong or said
                    continue
                ends = yield said
                if isinstance(said, MembersEpoch):
                    worker.has_trained = True
                    worker.tell(_Answer(ends or {}, stop))
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
        for worker in self._all.values():
            worker.end()
        self._all.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._all.values() if worker.task is not None]

    def _start(self) -> _Worker:
        worker = _Worker()
        self._all[worker.connection] = worker
        return worker

    def _tell_to_stop(self, reason: str) -> None:
        for worker in self._busy():
            if worker.has_trained:
                worker.tell(_Answer(stop=reason, is_reply=False))
            else:
                # It loads, reads or compiles, for seconds or minutes, and has nothing to save yet.
                del self._all[worker.connection]
                worker.end()

    def _replaced(self, worker: _Worker) -> tuple[Task, int]:
        """The task of a worker that has died, and how often it will have been begun."""
        del self._all[worker.connection]
        task, attempt = worker.lost()
        if attempt == _ATTEMPTS:
            raise ResourceError(_died(task, worker.code))
        return task, attempt + 1


class _Worker:
    """One process, seen from the one that started it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _signals_held():
            self._process.start()
        theirs.close()
        self.task: Task | None = None
        self.has_trained = False
        self._attempt = 0

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def give(self, task: Task, attempt: int) -> None:
        self.task, self.has_trained, self._attempt = task, False, attempt
        self.tell(task)

    def tell(self, message: Any) -> None:
        """Say something; a worker that has died is found out when it is listened to."""
        try:
            self.connection.send(message)
        except OSError:
            return

    def lost(self) -> tuple[Task, int]:
        """It has died: its task, and how often that was begun."""
        self._process.join()
        assert self.task is not None
        return self.task, self._attempt

    def end(self) -> None:
        """Kill it: what it has of a pack goes on from the last checkpoint; idle, it has nothing to lose,
        and may be loading TensorFlow for seconds to come.
        """
        self._process.kill()
        self.connection.close()
        self._process.join()


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


def _died(task: Task, code: int | None) -> Problem:
    names = ", ".join(str(entrant.number) for entrant in task.entrants[:5])
    more = "" if len(task.entrants) <= 5 else f" and {len(task.entrants) - 5} more"
    return Problem(
        where=str(task.directory),
        expected="a worker that lives",
        found=f"its exit code {code}, {_ATTEMPTS} times (networks {names}{more})",
        fix="it may have run out of memory: take fewer --jobs, or a smaller fit.batch_size",
    )


def _serve(connection: Connection) -> None:
    """In the worker: task after task, until nobody gives any more."""
    Thread(target=_end_with_parent, daemon=True).start()
    with devices.importing(worthwhile=True):
        pass
    warn_once()
    tables = Tables()
    while True:
        try:
            said = connection.recv()
            if isinstance(said, Task):
                connection.send(_done(said, tables, connection))
        except (EOFError, OSError):
            os._exit(0)


def _end_with_parent() -> None:
    """Ends this process with the one that started it: a compilation or an epoch may take minutes, and
    another may go on in the same directories meanwhile.
    """
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)


def _done(task: Task, tables: Tables, connection: Connection) -> _Done:
    heard: list[str] = []

    def interrupted() -> str | None:
        while connection.poll():
            _listen(connection, heard)
        return heard[0] if heard else None

    try:
        working = work(task, tables, interrupted)
        ends: Ends | None = None
        while True:
            try:
                event = working.send(ends)
            except StopIteration as over:
                return _Done(stopped=over.value)
            ends = None
            connection.send(event)
            if isinstance(event, MembersEpoch):
                ends = _reply(connection, heard)
    except TrainerError as wrong:
        return _Done(error=type(wrong), problems=wrong.problems)
    except (EOFError, OSError):
        os._exit(0)
    except Exception as bug:
        import traceback

        return _Done(bug="".join(traceback.format_exception(bug)))


def _reply(connection: Connection, heard: list[str]) -> Ends:
    """What is answered to an epoch; what was said in between is heard too."""
    while True:
        answer = _listen(connection, heard)
        if answer.is_reply:
            return answer.ends


def _listen(connection: Connection, heard: list[str]) -> _Answer:
    try:
        answer: _Answer = connection.recv()
    except (EOFError, OSError):
        # Whoever asked for this is gone: another may be at work on the same directories.
        os._exit(0)
    if answer.stop is not None:
        heard.append(answer.stop)
    return answer
