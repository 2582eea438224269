"""Problems of a request: where, what was expected, what was found, how to fix it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

SHOWN = 20
"""Maximum number of problems in a response; the others are only counted."""

_LENGTH = 60


@dataclass(frozen=True, slots=True)
class RequestProblem:
    """A problem with a request.

    Attributes:
        expected: What was expected.
        found: What was found.
        fix: How to fix it; may be empty.
        column: The column, if it is about one.
        row: The number of the row, from 0, if it is about one.
    """

    expected: str
    found: str
    fix: str = ""
    column: str | None = None
    row: int | None = None


class RequestError(Exception):
    """A request that is refused.

    Attributes:
        status: The HTTP status.
        problems: The first problems.
        count: The number of all problems.
    """

    def __init__(self, status: int, problems: Sequence[RequestProblem], count: int = 0) -> None:
        self.status = status
        self.problems = tuple(problems[:SHOWN])
        self.count = max(count, len(problems))
        super().__init__(status, self.problems)

    def body(self) -> bytes:
        """Return the JSON body of the response."""
        return errors_json(self.problems, self.count)


def refuse(status: int, expected: str, found: str, fix: str = "") -> RequestError:
    """Return an error with one problem."""
    return RequestError(status, [RequestProblem(expected, found, fix)])


def error_body(expected: str, found: str, fix: str = "") -> bytes:
    """Return the JSON body of a response with one problem."""
    return errors_json([RequestProblem(expected, found, fix)], 1)


def errors_json(problems: Sequence[RequestProblem], count: int) -> bytes:
    """Return `{"errors": [{"row", "column", "expected", "found", "fix"}, …], "count": …}`."""
    errors = []
    for problem in problems:
        values = {
            "row": problem.row,
            "column": problem.column,
            "expected": problem.expected,
            "found": problem.found,
            "fix": problem.fix,
        }
        errors.append({name: value for name, value in values.items() if value not in (None, "")})
    return orjson.dumps({"errors": errors, "count": count})


def shown(value: object) -> str:
    """Return a value as found in a request, shortened: 'abc', 3, true, a list."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value}"
        case str():
            text = value if len(value) <= _LENGTH else f"{value[:_LENGTH]}…"
            return f"'{text}'"
        case list():
            return "a list"
        case dict():
            return "an object"
    return type(value).__name__
