"""What is said, and where: results on stdout, everything else on stderr.

On a terminal stderr gets colour and a progress bar, elsewhere plain lines without control codes. A
reader that goes away (`| head`) never stops a run: what cannot be said is left unsaid.
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
    """Says things on stderr, unless quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.terminal = _is_terminal()

    def print(self, text: str = "") -> None:
        """Print a line for the user; on a terminal, long ones are broken between words."""
        if not self.quiet:
            _write(sys.stderr, _lines(wrap_text(text, _columns(sys.stderr))))

    def announce_loading(self, what: str | Path) -> None:
        """Print what is being read, before imports that take seconds and show nothing.

        Nothing is printed of a path that does not exist: its error follows at once.
        """
        if isinstance(what, str) or what.exists():
            self.print(f"reading {what}, loading TensorFlow (takes some seconds) …")

    def table(self, table: Table) -> None:
        """Print a table, as wide as the terminal at most."""
        if not self.quiet:
            _write(sys.stderr, _lines(table_lines(table, _columns(sys.stderr))))


def result(text: str) -> None:
    """A line of the result, on stdout."""
    _write(sys.stdout, text + "\n")


def result_table(table: Table) -> None:
    """Print a table of the result on stdout, as wide as the terminal at most."""
    for line in table_lines(table, result_columns()):
        result(line)


def result_columns() -> int | None:
    """The width of the terminal that stdout is; None for a file or a pipe."""
    return _columns(sys.stdout)


def json_result(value: dict[str, Any]) -> None:
    """One JSON object on one line of stdout; numbers that are not finite become null."""
    result(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False))


def print_error(wrong: TrainerError, *, json: bool) -> int:
    """Say what is wrong, each problem on a line of its own; the exit code."""
    if json:
        with contextlib.suppress(StorageError):
            json_result({"error": error_json(wrong)})
    for problem in wrong.problems:
        error(str(problem))
    return wrong.exit_code


def error_json(wrong: TrainerError) -> dict[str, Any]:
    """An error as `--json` prints it."""
    return {
        "kind": wrong.kind,
        "problems": [
            {
                "where": " ".join(part for part in (problem.where, problem.key) if part),
                "expected": problem.expected,
                "found": problem.found,
                "fix": problem.fix,
            }
            for problem in wrong.problems
        ],
    }


def stdout_error(error: OSError) -> StorageError:
    """What is told when stdout takes no more."""
    found = (error.strerror or str(error)).lower()
    return StorageError(Problem("stdout", "to write the result there", found, "see `df -h`"))


def warn(text: str) -> None:
    """A line that a person should see even when the console is quiet, on stderr."""
    _marked("warning:", "33", text)


@contextlib.contextmanager
def logged_warnings() -> Iterator[None]:
    """Within it what `trainer` logs as a warning is told as one, each text once."""
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
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._told:
            self._told.add(text)
            warn(text)


def error(text: str) -> None:
    """A line about what went wrong, on stderr."""
    _marked("error:", "31", text)


def styled(text: str, code: str) -> str:
    """The text in an ANSI colour, where stderr is a terminal that wants colour."""
    if "NO_COLOR" in os.environ or not _is_terminal():
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def _marked(mark: str, code: str, text: str) -> None:
    first, *others = wrap_text(f"{mark} {text}", _columns(sys.stderr))
    _write(sys.stderr, _lines([styled(mark, code) + first.removeprefix(mark), *others]))


def _lines(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _columns(stream: TextIO | None) -> int | None:
    """The width of a terminal; None for anything else, whose lines stay whole."""
    try:
        if stream is None or not stream.isatty():
            return None
        # A width of 0 is that of a terminal which does not know.
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
        # Nobody reads any more, or the disk is full. What follows, and Python's own flush at exit,
        # goes nowhere.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            raise stdout_error(error) from error
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
