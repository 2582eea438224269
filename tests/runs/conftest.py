"""Processes that die between two operations on a disk."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from trainer.runs.files import DISK, FileSystem


class Death(BaseException):
    """The process ends here."""


class MortalProcess:
    """Does `steps` operations on its disk and dies before the next."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.died = False
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
            assert self.died
        else:
            assert not self.died

    def _step(self, operation: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: Any) -> None:
            if self.steps == 0:
                # What is dead does not tidy up either.
                self.died = True
                raise Death
            self.steps -= 1
            operation(*arguments)

        return run


@pytest.fixture
def mortal() -> Callable[[int], MortalProcess]:
    return MortalProcess
