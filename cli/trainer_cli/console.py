"""Terminal output: results on stdout, everything else on stderr.

On a terminal, stderr gets color and a progress bar; elsewhere, plain lines without control codes. A
closed pipe (`| head`) never stops a run: output that cannot be written is dropped.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from trainer.errors import Problem, StorageError, TrainerError
from trainer.report.text import Table
from trainer.report.wrapping import table_lines, wrap_text


class Console:
    """Prints messages on stderr, unless quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.terminal = _is_terminal()

    def print(self, text: str = "") -> None:
        """Print a line, wrapped on a terminal."""
        if not self.quiet:
            _write(sys.stderr, _lines(wrap_text(text, _columns(sys.stderr))))

    def announce_loading(self, what: str | Path) -> None:
        """Print what is being read, before imports that take seconds.

        Print nothing for a path that does not exist, because an error follows immediately.
        """
        if isinstance(what, str) or what.exists():
            self.print(f"reading {what}, loading TensorFlow (takes a few seconds) …")

    def table(self, table: Table) -> None:
        """Print a table that fits the terminal's width."""
        if not self.quiet:
            _write(sys.stderr, _lines(table_lines(table, _columns(sys.stderr))))


def result(text: str) -> None:
    """Print a line of the result on stdout."""
    _write(sys.stdout, text + "\n")


def result_table(table: Table) -> None:
    """Print a table of the result on stdout that fits the terminal's width."""
    for line in table_lines(table, result_columns()):
        result(line)


def result_columns() -> int | None:
    """Return the width of the terminal on stdout; None for a file or a pipe."""
    return _columns(sys.stdout)


def json_result(value: dict[str, Any]) -> None:
    """Print a JSON object as a line on stdout; NaN and ±∞ become null."""
    result(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False))


def print_error(trainer_error: TrainerError, *, json: bool) -> int:
    """Print an error, one line per problem; return the exit code."""
    if json:
        with contextlib.suppress(StorageError):
            json_result({"error": error_json(trainer_error)})
    for problem in trainer_error.problems:
        error(str(problem))
    return trainer_error.exit_code


def error_json(trainer_error: TrainerError) -> dict[str, Any]:
    """Return an error as printed by `--json`."""
    return {
        "kind": trainer_error.kind,
        "problems": [
            {
                "where": " ".join(part for part in (problem.where, problem.key) if part),
                "expected": problem.expected,
                "found": problem.found,
                "fix": problem.fix,
            }
            for problem in trainer_error.problems
        ],
    }


def stdout_error(error: OSError) -> StorageError:
    """Return the error for a failed write to stdout."""
    found = (error.strerror or str(error)).lower()
    fix = "free up disk space (`df -h` shows it)"
    return StorageError(Problem("stdout", "to write the result", found, fix))


def warn(text: str) -> None:
    """Print a warning on stderr, even if the console is quiet."""
    _marked("warning:", "33", text)


@contextlib.contextmanager
def logged_warnings() -> Iterator[None]:
    """While active, print each distinct warning that `trainer` logs."""
    handler = _Warnings(logging.WARNING)
    log = logging.getLogger("trainer")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _Warnings(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._printed:
            self._printed.add(text)
            warn(text)


def error(text: str) -> None:
    """Print an error on stderr."""
    _marked("error:", "31", text)


def styled(text: str, code: str) -> str:
    """Return the text in an ANSI color if stderr is a terminal with color."""
    if "NO_COLOR" in os.environ or not _is_terminal():
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def _marked(mark: str, code: str, text: str) -> None:
    first, *others = wrap_text(f"{mark} {text}", _columns(sys.stderr))
    _write(sys.stderr, _lines([styled(mark, code) + first.removeprefix(mark), *others]))


def _lines(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _columns(stream: TextIO | None) -> int | None:
    """Return the width of a terminal; None for a file or a pipe, where lines are not wrapped."""
    try:
        if stream is None or not stream.isatty():
            return None
        # A width of 0 means that the terminal does not know its width.
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _finite(value: Any) -> Any:
    match value:
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case float() if not math.isfinite(value):
            return None
    return value


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # the command was started with it closed
        return
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        # The reader is gone or the disk is full. Later output, and Python's flush at exit, go to
        # /dev/null.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            raise stdout_error(error) from error
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
