"""The lock of a run directory: a file that names the only process that may write.

The file is created exclusively, under a lock on the directory that the system releases when a process
dies. A dead owner is recognized by its process id, start time and boot. An owner that cannot be
inspected (another host, another container) is recognized by its heartbeat: the file's modification
time, which a thread of a live owner renews.
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
from typing import Literal, Self

from trainer.errors import Problem, RunError
from trainer.runs.files import json_bytes, storage_errors
from trainer.runs.manifest import DEAD_AFTER_SECONDS
from trainer.runs.process import ProcessIdentity, is_alive, this_process

_ACTION = "write this lock"


@dataclass(frozen=True, slots=True)
class _Owner:
    process: ProcessIdentity
    silent_seconds: float


class RunLock:
    """An exclusive write lock on a run, held from `__init__` to `release`.

    Args:
        path: The lock file, in the run directory.
        process: The owner; defaults to this process.
        beat_seconds: Interval of the heartbeat.
        clock: Returns seconds since 1970, like modification times.

    Raises:
        RunError: A live process is writing the run.
        StorageError: The file could not be written.
    """

    def __init__(
        self,
        path: Path,
        process: ProcessIdentity | None = None,
        beat_seconds: float = 15.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._process = this_process() if process is None else process
        with storage_errors(path, _ACTION), _exclusive(path.parent):
            owner = _owner(path, clock())
            if owner is not None and _is_alive(owner, self._process):
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
        """Release the lock; a second call does nothing."""
        if self._released.is_set():
            return
        self._released.set()
        self._thread.join()
        remove_lock_of(self._path, {self._process})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _beat(self, beat_seconds: float) -> None:
        while not self._released.wait(beat_seconds):
            with suppress(OSError):
                os.utime(self._path)


def lock_state(path: Path, now: float | None = None) -> Literal["none", "alive", "dead"]:
    """Return whether the lock has no owner, a live one or a dead one."""
    try:
        owner = _owner(path, time.time() if now is None else now)
    except OSError:
        return "none"
    if owner is None:
        return "none"
    return "alive" if _is_alive(owner, this_process()) else "dead"


def remove_lock_of(path: Path, processes: Set[ProcessIdentity]) -> None:
    """Remove the lock if one of these processes owns it; none of them may still be writing."""
    # The lock does not matter in a directory that was deleted or became read-only.
    with suppress(OSError), _exclusive(path.parent):
        owner = _owner(path, 0.0)
        if owner is not None and owner.process in processes:
            path.unlink()


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Admit one process at a time, so that two cannot both replace a dead owner."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        # Without support for such locks, exclusive creation of the file has to suffice.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _owner(path: Path, now: float) -> _Owner | None:
    """Return the owner of the run; None without a lock or with an incompletely written one."""
    if not path.is_file():
        return None  # also for a pipe, which would block the reader forever
    try:
        value = json.loads(path.read_bytes())
        silent_seconds = now - path.stat().st_mtime
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    match value:
        case {"host": str(host), "pid": int(pid), "space": str(space), "started": str(started)}:
            return _Owner(ProcessIdentity(host, pid, space, started), silent_seconds)
        case _:
            return None


def _is_alive(owner: _Owner, observer: ProcessIdentity) -> bool:
    alive = is_alive(owner.process, observer)
    return owner.silent_seconds <= DEAD_AFTER_SECONDS if alive is None else alive


def _taken(path: Path, owner: _Owner, observer: ProcessIdentity) -> Problem:
    process = owner.process
    found = f"process {process.pid} on {process.host} writing it"
    if is_alive(process, observer) is None:
        found += f" (last heartbeat {max(0.0, owner.silent_seconds):.0f} s ago)"
        fix = (
            f"stop that process or, if it is dead, try again {DEAD_AFTER_SECONDS:.0f} s after its "
            f"last heartbeat, or delete {path}"
        )
    else:
        fix = f"wait for it to end, or stop it with `kill {process.pid}`"
    return Problem(str(path.parent), "a run that no other process is writing", found, fix)
