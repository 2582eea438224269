"""The exceptions of the project: one tree, each carrying data.

    TrainerError              an error for the user, shown without a traceback
    ├── InputError            wrong input                                    exit 2
    │   ├── UsageError        the command line
    │   ├── ConfigError       a config file or an override
    │   ├── DataError         a table or one of its columns
    │   └── RunError          a run directory or one of its checkpoints
    └── TrainingError         training could not continue                    exit 3
        ├── DivergedError     the loss is not finite
        ├── ResourceError     out of memory, or the device failed
        └── StorageError      the run directory could not be written

An exception holds one or more `Problem`s: where, what was expected, what was found, how to fix it. They
are created where they are detected, collected, and printed once by the command line. Any other exception
is a bug in this package and exits with 1.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One error in the user's input or environment, with its fix.

    Attributes:
        where: The location, in a form an editor or shell understands: `config.yaml:3:5`,
            `data/x.csv:17`, `--data`.
        expected: What would be valid, as a noun phrase: "a number above 0".
        found: What was found instead: "'abc'".
        fix: A sentence or command that fixes it; may be empty.
        key: The config key that it concerns (`data.target`), if any. `LoadedConfig.locate` turns it
            into a location.
    """

    where: str
    expected: str
    found: str
    fix: str = ""
    key: str = ""

    def at(self, where: str) -> Problem:
        """Return the same problem at another location."""
        return replace(self, where=where)

    def __str__(self) -> str:
        location = " ".join(part for part in (self.where, self.key) if part)
        text = f"{location}: expected {self.expected}, found {self.found}"
        return f"{text}; {self.fix}" if self.fix else text


class TrainerError(Exception):
    """An error for the user, made of one or more problems."""

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (
            (problems,) if isinstance(problems, Problem) else tuple(problems)
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


class InputError(TrainerError):
    """The user's input is invalid."""

    kind = "input"
    exit_code = 2


class UsageError(InputError):
    """The command line is invalid."""

    kind = "usage"


class ConfigError(InputError):
    """A config file or an override is invalid."""

    kind = "config"


class DataError(InputError):
    """A table or one of its columns is wrong."""

    kind = "data"


class RunError(InputError):
    """A run directory or one of its checkpoints is missing, damaged or unsuitable."""

    kind = "run"


class TrainingError(TrainerError):
    """Training could not continue."""

    kind = "training"
    exit_code = 3


class DivergedError(TrainingError):
    """The loss is not finite."""

    kind = "diverged"


class ResourceError(TrainingError):
    """Memory ran out or the device failed."""

    kind = "resource"


class StorageError(TrainingError):
    """The run directory could not be written."""

    kind = "storage"


def command_text(*words: object) -> str:
    """Return a `trainer` command, quoted for a shell: `trainer resume 'my runs/a'`."""
    return shlex.join(["trainer", *map(str, words)])


def pluralize(count: int, noun: str) -> str:
    """Return a count with its noun: 1 class, 2 classes, 1,000 rows."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def did_you_mean(name: str, known: Sequence[str], otherwise: str = "") -> str:
    """Return `did you mean 'x'?` with the closest of `known`, or `otherwise` if none is close."""
    by_lower = {candidate.lower(): candidate for candidate in reversed(known)}
    near = get_close_matches(name.lower(), list(by_lower), n=5, cutoff=0.6)
    # Swapped letters are the more likely typo: 'adma' is 'adam', though 'adamax' is closer.
    near.sort(key=lambda candidate: sorted(candidate) != sorted(name.lower()))
    return f"did you mean '{by_lower[near[0]]}'?" if near else otherwise
