"""Disks that fail and processes that are killed at a chosen operation."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from trainer.errors import StorageError
from trainer.runs.files import Content, FileSystem

Fault = int | Literal["death", "torn"]


def _write(path: Path, content: Content) -> None:
    with path.open("wb") as file:
        _ = content(file) if callable(content) else file.write(content)


UNSYNCED = FileSystem(write=_write, sync=lambda path: None)
"""A disk without flushes, which are slow; a simulated kill does not lose unflushed data."""


class ProcessDeath(BaseException):
    """The process is killed."""


class FailingProcess:
    """A process that fails after `steps` disk operations.

    The fault is an errno, or "death" before the next operation, or "torn" in the middle of it.
    """

    def __init__(self, steps: int, fault: Fault = "death") -> None:
        self.steps = steps
        self.fault = fault
        self.failed = False
        self.disk = FileSystem(
            make_directory=self._step(UNSYNCED.make_directory),
            write=self._step(UNSYNCED.write),
            sync=self._step(UNSYNCED.sync),
            rename=self._step(UNSYNCED.rename),
            remove=self._step(UNSYNCED.remove),
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        try:
            yield
        except ProcessDeath:
            assert self.failed
        except StorageError:
            assert self.failed
            assert isinstance(self.fault, int)
        else:
            # Failing to remove a previous directory is not an error.
            assert not self.failed or isinstance(self.fault, int)

    def _step(self, operation: Callable[..., None]) -> Callable[..., None]:
        def run(path: Path, *arguments: Any) -> None:
            if self.failed and not isinstance(self.fault, int):
                # A killed process does not clean up.
                raise ProcessDeath
            if self.steps > 0 or self.failed:
                self.steps -= 1
                operation(path, *arguments)
                return
            self.failed = True
            if isinstance(self.fault, int):
                raise OSError(self.fault, os.strerror(self.fault), str(path))
            if self.fault == "torn":
                _do_half(operation, path, *arguments)
            raise ProcessDeath

        return run


def _do_half(operation: Callable[..., None], path: Path, *arguments: Any) -> None:
    if operation is UNSYNCED.write:
        operation(path, *arguments)
        os.truncate(path, path.stat().st_size // 2)
    if operation is UNSYNCED.remove and path.is_dir():
        files = sorted(path.iterdir())
        for file in files[: (len(files) + 1) // 2]:
            file.unlink()


@pytest.fixture
def failing_process() -> Callable[..., FailingProcess]:
    return FailingProcess
