"""Faults at a chosen disk operation or evaluation of a process.

They change the process for good: only a child forked for one command injects them.
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

DIE, DIE_HALFWAY = "die", "die halfway"
"""The process is killed before the operation, or when half of it is done."""


def inject_fault(
    *,
    root: str = "",
    operation: int = 0,
    effect: str | int = DIE,
    log: str = "",
    evaluation: int = 0,
    signal_number: int = signal.SIGKILL,
) -> None:
    """Make one operation of this process fail.

    Args:
        root: The directory of the runs; with it, disk operations below it are counted.
        operation: The operation, from 1, that fails; 0 for none.
        effect: `DIE`, `DIE_HALFWAY` or an errno.
        log: A file for the names of the operations, one per line.
        evaluation: Instead: the process sends itself a signal when it begins this evaluation, from 1,
            of the validation rows after an epoch or of all rows at the end.
        signal_number: That signal.
    """
    if root:
        FaultyDisk(root, operation, effect, Path(log)).install()
    if evaluation:
        _send_signal_in_evaluation(evaluation, signal_number)


def _send_signal_in_evaluation(evaluation: int, signal_number: int) -> None:
    evaluate = Evaluator.evaluate_in_parts
    evaluations = count(1)

    def evaluate_in_parts(
        evaluator: Evaluator, samples: Samples
    ) -> Generator[None, None, EpochOutput]:
        if next(evaluations) == evaluation:
            os.kill(os.getpid(), signal_number)
        return evaluate(evaluator, samples)

    Evaluator.evaluate_in_parts = evaluate_in_parts  # type: ignore[method-assign]


class FaultyDisk:
    """Counts the disk operations of this process; one of them fails."""

    def __init__(self, root: str, fatal: int, effect: str | int, log: Path) -> None:
        self._root, self._fatal, self._effect = root, fatal, effect
        self._count = 0
        self._inside = False
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def install(self) -> None:
        """Count operations from now on."""
        halves = {"write": _write_half, "remove": _remove_half}
        for name in ("make_directory", "write", "sync", "rename", "remove"):
            operation = self._counted(name, getattr(DISK, name), halves.get(name))
            object.__setattr__(DISK, name, operation)
        recording.save_network = self._counted(
            "save_network", recording.save_network, _save_half, path_index=1
        )
        # Single directories and the logs do not go through `DISK`.
        Path.mkdir = self._counted("mkdir", Path.mkdir)  # type: ignore[method-assign]
        os.write = self._counted("append", os.write, _append_half)
        os.fsync = self._counted("flush", os.fsync)
        os.ftruncate = self._counted("truncate", os.ftruncate)
        os.truncate = self._counted("truncate", os.truncate)

    def _counted(
        self,
        name: str,
        operation: Callable[..., Any],
        half: Callable[..., None] | None = None,
        path_index: int = 0,
    ) -> Callable[..., Any]:
        @functools.wraps(operation)
        def run(*arguments: Any, **named: Any) -> Any:
            path = _path(arguments[path_index])
            if self._inside or not path.startswith(self._root):
                return operation(*arguments, **named)
            self._count += 1
            _WRITE(self._log, f"{name} {path.removeprefix(self._root)}\n".encode())
            if self._count == self._fatal:
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
        if isinstance(self._effect, int):
            raise OSError(self._effect, os.strerror(self._effect), path)
        if self._effect == DIE_HALFWAY and half is not None:
            self._inside = True
            half(operation, *arguments)
        os.kill(os.getpid(), signal.SIGKILL)


_WRITE = os.write


def _path(file: Any) -> str:
    path = Path(f"/proc/self/fd/{file}").readlink() if isinstance(file, int) else Path(file)
    return str(path.absolute())


def _write_half(write: Any, path: Path, content: Any) -> None:
    write(path, content)
    os.truncate(path, path.stat().st_size // 2)


def _append_half(_: Any, descriptor: int, content: bytes) -> None:
    _WRITE(descriptor, content[: len(content) // 2])


def _remove_half(_: Any, path: Path) -> None:
    if path.is_dir():
        for file in sorted(path.iterdir())[::2]:
            file.unlink()


def _save_half(save: Any, model: Any, path: Path) -> None:
    save(model, path)
    os.truncate(path, path.stat().st_size // 2)
