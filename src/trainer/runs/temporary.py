"""Temporary siblings of a file or directory, each written by only one process.

A killed process leaves its temporary sibling behind; the next one that writes the same path removes it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.errors import Problem, RunError
from trainer.runs.files import DISK


@contextmanager
def temporary_sibling(path: Path, create: Callable[[Path], None]) -> Iterator[Path]:
    """Context manager with the path of a new temporary sibling, which is removed at the end if it was
    not renamed.

    Args:
        path: The file or directory that it becomes.
        create: Creates it, empty.

    Raises:
        RunError: Another process is writing the same path.
        OSError: It cannot be created.
    """
    temporary = path.with_name(f".{path.name}.new")
    leftover = _lock(temporary, path)
    held = None
    try:
        if leftover is not None:
            DISK.remove(temporary)
        create(temporary)
        held = _lock(temporary, path)
        try:
            yield temporary
        finally:
            with suppress(OSError):
                DISK.remove(temporary)
    finally:
        for descriptor in (leftover, held):
            if descriptor is not None:
                os.close(descriptor)


def _lock(temporary: Path, path: Path) -> int | None:
    """Return a descriptor that locks a file or directory until it is closed; None if it is missing.

    The system releases the lock of a process that dies.

    Raises:
        RunError: Another process has locked it.
    """
    try:
        descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # Where such locks are not supported, two processes at a time are not noticed.
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(_busy(path)) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.lstat(temporary)):
                return descriptor
        raise RunError(_busy(path))
    except BaseException:
        os.close(descriptor)
        raise


def _busy(path: Path) -> Problem:
    return Problem(
        str(path), "a path that no other process is writing", "one that does", "wait for it to end"
    )
