"""One writer for a run directory: a file that says which process writes it.

The file is made exclusively, under a lock of the directory that the system takes off a process that
dies. A dead owner is recognised by its process id, start time and boot; one that cannot be looked
at (another host, another container) by its heartbeat, the file's modification time, which a thread
of a live owner renews.

Owns: the file `lock`. Does not own: the run's status (`manifest`).
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from trainer.errors import Problem, RunError
from trainer.runs.files import json_bytes, storage_errors
from trainer.runs.manifest import DEAD_AFTER_SECONDS
from trainer.runs.process import Process, is_alive, this_process

_ACTION = "write this lock"


@dataclass(frozen=True, slots=True)
class _Owner:
    process: Process
    silent_seconds: float


class RunLock:
    """The right to write a run, from `__init__` to `release`.

    Args:
        path: The lock file, in the run directory.
        process: The owner; this process unless stated.
        beat_seconds: How often the heartbeat is renewed.
        clock: Seconds since 1970, as modification times are.

    Raises:
        RunError: A live process writes the run.
        StorageError: The file could not be written.
    """

    def __init__(
        self,
        path: Path,
        process: Process | None = None,
        beat_seconds: float = 15.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._process = this_process() if process is None else process
        with storage_errors(path, _ACTION), _exclusive(path.parent):
            owner = _owner(path, clock())
            if owner is not None and _lives(owner, self._process):
                raise RunError(_taken(path, owner, self._process))
            path.unlink(missing_ok=True)
            with path.open("xb") as file:
                file.write(json_bytes(asdict(self._process)))
        self._released = threading.Event()
        self._thread = threading.Thread(
            target=self._beat, args=(beat_seconds,), name="run-lock", daemon=True
        )
        self._thread.start()

    def release(self) -> None:
        """Gives the run free; a second call does nothing."""
        if self._released.is_set():
            return
        self._released.set()
        self._thread.join()
        take_off(self._path, {self._process})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _beat(self, beat_seconds: float) -> None:
        while not self._released.wait(beat_seconds):
            with suppress(OSError):
                os.utime(self._path)


def holder_state(path: Path, now: float | None = None) -> Literal["none", "alive", "dead"]:
    """Whether a process writes what this lock is of, or died while it did."""
    try:
        owner = _owner(path, time.time() if now is None else now)
    except OSError:
        return "none"
    if owner is None:
        return "none"
    return "alive" if _lives(owner, this_process()) else "dead"


def take_off(path: Path, processes: Set[Process]) -> None:
    """Removes the lock of one of these processes, none of which writes any more; another's stays."""
    # A directory that was removed or has become read-only holds nobody up.
    with suppress(OSError), _exclusive(path.parent):
        owner = _owner(path, 0.0)
        if owner is not None and owner.process in processes:
            path.unlink()


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Only one process at a time is inside, so that two cannot both replace one dead owner."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        # Where the file system has no such locks, exclusive creation alone has to do.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _owner(path: Path, now: float) -> _Owner | None:
    """Who owns the run; None without a lock or with one whose writer died while it wrote it."""
    if not path.is_file():
        return None  # also a pipe, which would hold the reader up for ever
    try:
        value = json.loads(path.read_bytes())
        silent_seconds = now - path.stat().st_mtime
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    match value:
        case {"host": str(host), "pid": int(pid), "space": str(space), "started": str(started)}:
            return _Owner(Process(host, pid, space, started), silent_seconds)
        case _:
            return None


def _lives(owner: _Owner, here: Process) -> bool:
    alive = is_alive(owner.process, here)
    return owner.silent_seconds <= DEAD_AFTER_SECONDS if alive is None else alive


def _taken(path: Path, owner: _Owner, here: Process) -> Problem:
    process = owner.process
    found = f"process {process.pid} on {process.host}, which writes it now"
    if is_alive(process, here) is None:
        found += f" (last sign {max(0.0, owner.silent_seconds):.0f} s ago)"
        fix = (
            f"stop it there, or, if it is gone, try again after {DEAD_AFTER_SECONDS:.0f} s without "
            f"a sign of it, or delete {path}"
        )
    else:
        fix = f"wait for it to end, or stop it with `kill {process.pid}`"
    return Problem(str(path.parent), "a run that nobody writes", found, fix)
