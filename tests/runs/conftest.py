"""Disks that fail, and processes that die, at a chosen operation."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from trainer.errors import StorageError
from trainer.runs.files import DISK, FileSystem

Fault = int | Literal["death", "torn"]


class Death(BaseException):
    """The process ends here."""


class MortalProcess:
    """Does `steps` operations on its disk, then meets a fault, which is an error's number, or death
    before the next operation, or death in the middle of it ("torn").
    """

    def __init__(self, steps: int, fault: Fault = "death") -> None:
        self.steps = steps
        self.fault = fault
        self.struck = False
        self.disk = FileSystem(
            make_directory=self._step(DISK.make_directory),
            write=self._step(DISK.write),
            sync=self._step(DISK.sync),
            rename=self._step(DISK.rename),
            remove=self._step(DISK.remove),
        )

    @contextmanager
    def life(self) -> Iterator[None]:
        try:
            yield
        except Death:
            assert self.struck
        except StorageError:
            assert self.struck
            assert isinstance(self.fault, int)
        else:
            # That a former directory cannot be removed is no error.
            assert not self.struck or isinstance(self.fault, int)

    def _step(self, operation: Callable[..., None]) -> Callable[..., None]:
        def run(path: Path, *arguments: Any) -> None:
            if self.struck and not isinstance(self.fault, int):
                # What is dead does not tidy up either.
                raise Death
            if self.steps > 0 or self.struck:
                self.steps -= 1
                operation(path, *arguments)
                return
            self.struck = True
            if isinstance(self.fault, int):
                raise OSError(self.fault, os.strerror(self.fault), str(path))
            if self.fault == "torn":
                _do_half(operation, path, *arguments)
            raise Death

        return run


def _do_half(operation: Callable[..., None], path: Path, *arguments: Any) -> None:
    if operation is DISK.write:
        (content,) = arguments
        path.write_bytes(content[: len(content) // 2])
    if operation is DISK.remove and path.is_dir():
        files = sorted(path.iterdir())
        for file in files[: (len(files) + 1) // 2]:
            file.unlink()


@pytest.fixture
def mortal() -> Callable[..., MortalProcess]:
    return MortalProcess
