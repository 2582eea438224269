"""Read a table from stdin if the data file is `-`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from trainer.errors import Problem, StorageError, TrainerError, UsageError
from trainer_cli import console


@contextmanager
def data_file(path: Path) -> Iterator[Path]:
    """Yield the file to read: `path` itself, or for `-` a temporary copy of stdin.

    Stdin is copied because tables are read more than once. Errors inside the block call the copy
    `stdin`.

    Raises:
        UsageError: stdin is closed or empty.
        StorageError: The copy does not fit on the disk.
    """
    if str(path) != "-":
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="trainer-stdin-") as folder:
        copy = Path(folder) / "stdin.txt"
        _copy_stdin(copy)
        try:
            yield copy
        except TrainerError as error:
            raise type(error)(
                _with_stdin_name(problem, str(copy)) for problem in error.problems
            ) from error


def with_stdin_name(text: str, path: Path, source: Path | None) -> str:
    """Replace the path of a temporary copy of stdin in a warning with `stdin`."""
    return text if source in (None, path) else text.replace(str(source), "stdin")


def _copy_stdin(copy: Path) -> None:
    expected, fix = "a CSV table on stdin", "pipe a table in, or name a file"
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError(Problem("-", expected, "stdin closed", fix))
    if sys.stdin.isatty():
        console.Console().print("reading CSV from the terminal; Ctrl-D ends it")
    try:
        with copy.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
    except OSError as error:
        found = (error.strerror or str(error)).lower()
        fix = "free up space there, or set TMPDIR to another folder"
        raise StorageError(
            Problem(str(copy.parent), "space for a copy of stdin", found, fix)
        ) from error
    if not copy.stat().st_size:
        raise UsageError(Problem("-", expected, "nothing", fix))


def _with_stdin_name(problem: Problem, path: str) -> Problem:
    return replace(
        problem,
        where=problem.where.replace(path, "stdin"),
        expected=problem.expected.replace(path, "stdin"),
        found=problem.found.replace(path, "stdin"),
        fix=problem.fix.replace(path, "stdin"),
    )
