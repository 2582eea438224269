"""What goes wrong inside a process, at a moment that no watcher could hit.

It changes the process for good: only a child that was forked for one command arms it.

Owns: which operations on a disk there are, what happens at one of them. Does not own: the children.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Generator
from itertools import count
from pathlib import Path
from typing import Any

from trainer.data.samples import Samples
from trainer.engine.batches import EpochOutput, Evaluator
from trainer.runs.files import DISK
from trainer.workflows import recording

DIE, HALF = "die", "half"
"""The process is killed before the operation, or when half of it is done."""


def arm(
    *,
    root: str = "",
    fatal: int = 0,
    how: str | int = DIE,
    told: str = "",
    evaluation: int = 0,
    number: int = signal.SIGKILL,
) -> None:
    """Let something go wrong in this process.

    Args:
        root: The folder of the runs; with it, operations on the disk below it are counted.
        fatal: The operation, from 1, that goes wrong; 0 for none.
        how: `DIE`, `HALF` or the number of an error.
        told: A file that takes the operations' names, a line each.
        evaluation: Instead: the process sends itself a signal when it has begun its so manieth
            evaluation, of the validation rows after an epoch or of all rows at the end.
        number: That signal.
    """
    if root:
        Disk(root, fatal, how, Path(told)).arm()
    if evaluation:
        _signal_in_evaluation(evaluation, number)


def _signal_in_evaluation(fatal: int, number: int) -> None:
    judge = Evaluator.evaluate_in_parts
    begun = count(1)

    def evaluate_in_parts(
        evaluator: Evaluator, samples: Samples
    ) -> Generator[None, None, EpochOutput]:
        if next(begun) == fatal:
            os.kill(os.getpid(), number)
        return judge(evaluator, samples)

    Evaluator.evaluate_in_parts = evaluate_in_parts  # type: ignore[method-assign]


class Disk:
    """Counts the operations on the disk; one of them goes wrong, as in `arm`."""

    def __init__(self, root: str, fatal: int, how: str | int, told: Path) -> None:
        self._root, self._fatal, self._how = root, fatal, how
        self._done = 0
        self._inside = False
        self._told = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def arm(self) -> None:
        """From now on operations are counted."""
        half = {"write": _half_written, "remove": _half_removed}
        for name in ("make_directory", "write", "sync", "rename", "remove"):
            operation = self._counted(name, getattr(DISK, name), half.get(name))
            object.__setattr__(DISK, name, operation)
        recording.save_network = self._counted(
            "save_network", recording.save_network, _half_saved, place=1
        )
        # What does not go through the file system above: single directories and the logs.
        Path.mkdir = self._counted("mkdir", Path.mkdir)  # type: ignore[method-assign]
        os.write = self._counted("append", os.write, _half_appended)
        os.fsync = self._counted("flush", os.fsync)
        os.ftruncate = self._counted("cut", os.ftruncate)
        os.truncate = self._counted("cut", os.truncate)

    def _counted(
        self,
        name: str,
        operation: Callable[..., Any],
        half: Callable[..., None] | None = None,
        place: int = 0,
    ) -> Callable[..., Any]:
        @functools.wraps(operation)
        def run(*arguments: Any, **named: Any) -> Any:
            path = _path(arguments[place])
            if self._inside or not path.startswith(self._root):
                return operation(*arguments, **named)
            self._done += 1
            _WRITE(self._told, f"{name} {path.removeprefix(self._root)}\n".encode())
            if self._done == self._fatal:
                self._fail(path, half, operation, arguments)
            self._inside = True
            try:
                return operation(*arguments, **named)
            finally:
                self._inside = False

        return run

    def _fail(
        self,
        path: str,
        half: Callable[..., None] | None,
        operation: Callable[..., Any],
        arguments: tuple[Any, ...],
    ) -> None:
        if isinstance(self._how, int):
            raise OSError(self._how, os.strerror(self._how), path)
        if self._how == HALF and half is not None:
            self._inside = True
            half(operation, *arguments)
        os.kill(os.getpid(), signal.SIGKILL)


_WRITE = os.write


def _path(given: Any) -> str:
    place = Path(f"/proc/self/fd/{given}").readlink() if isinstance(given, int) else Path(given)
    return str(place.absolute())


def _half_written(_: Any, path: Path, content: bytes) -> None:
    path.write_bytes(content[: len(content) // 2])


def _half_appended(_: Any, descriptor: int, content: bytes) -> None:
    _WRITE(descriptor, content[: len(content) // 2])


def _half_removed(_: Any, path: Path) -> None:
    if path.is_dir():
        for file in sorted(path.iterdir())[::2]:
            file.unlink()


def _half_saved(save: Any, network: Any, path: Path) -> None:
    save(network, path)
    os.truncate(path, path.stat().st_size // 2)
