"""The exceptions of the project: one tree, each carrying data.

    TrainerError              what a user can be told; never shown with a traceback
    ├── InputError            the user's input is wrong                      exit 2
    │   ├── UsageError        the command line
    │   ├── ConfigError       a config file or an override
    │   ├── DataError         a table or a column of it
    │   └── RunError          a run directory or a checkpoint of it
    └── TrainingError         training could not go on                       exit 3
        ├── DivergedError     the loss is not finite
        ├── ResourceError     memory or the device gave out
        └── StorageError      the run directory could not be written

An exception holds `Problem`s: where, what was expected, what was found, how to mend it. They are
written where they are found, gathered, and rendered once, at the command line's edge. Anything that
is not a `TrainerError` is a bug of ours and exits with 1.

Owns: the tree and the words of one problem. Does not own: printing, exit.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in the words a user needs to mend it.

    Attributes:
        where: The place as a user would open it: `config.yaml:3:5`, `data/x.csv:17`, `--data`.
        expected: What is right there, as a noun phrase: "a number above 0".
        found: What stands there: "'abc'".
        fix: A whole sentence or command that mends it; may be empty.
        key: The config key the problem belongs to (`data.target`), if any. Whoever loaded the config
            turns it into a place with `locate`.
    """

    where: str
    expected: str
    found: str
    fix: str = ""
    key: str = ""

    def at(self, where: str) -> Problem:
        """The same problem at another place."""
        return replace(self, where=where)

    def __str__(self) -> str:
        place = " ".join(part for part in (self.where, self.key) if part)
        text = f"{place}: expected {self.expected}, found {self.found}"
        return f"{text}; {self.fix}" if self.fix else text


class TrainerError(Exception):
    """Something a user can be told, as one or more problems."""

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (
            (problems,) if isinstance(problems, Problem) else tuple(problems)
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


class InputError(TrainerError):
    """The user's input is wrong."""

    kind = "input"
    exit_code = 2


class UsageError(InputError):
    """The command line is wrong."""

    kind = "usage"


class ConfigError(InputError):
    """A config file or an override is wrong."""

    kind = "config"


class DataError(InputError):
    """A table or a column of it is wrong."""

    kind = "data"


class RunError(InputError):
    """A run directory or a checkpoint of it is missing, damaged or unfit."""

    kind = "run"


class TrainingError(TrainerError):
    """Training could not go on."""

    kind = "training"
    exit_code = 3


class DivergedError(TrainingError):
    """The loss is not finite."""

    kind = "diverged"


class ResourceError(TrainingError):
    """Memory or the device gave out."""

    kind = "resource"


class StorageError(TrainingError):
    """The run directory could not be written."""

    kind = "storage"


def command_text(*words: object) -> str:
    """A `trainer` command that can be pasted into a shell: `trainer resume 'my runs/a'`."""
    return shlex.join(["trainer", *map(str, words)])


def did_you_mean(name: str, known: Sequence[str], otherwise: str = "") -> str:
    """`did you mean 'x'?` with the nearest of `known`, or `otherwise` when none is near."""
    by_lower = {candidate.lower(): candidate for candidate in reversed(known)}
    near = get_close_matches(name.lower(), list(by_lower), n=5, cutoff=0.6)
    # Letters that changed places are the likelier slip: 'adma' is 'adam', though 'adamax' is closer.
    near.sort(key=lambda candidate: sorted(candidate) != sorted(name.lower()))
    return f"did you mean '{by_lower[near[0]]}'?" if near else otherwise
