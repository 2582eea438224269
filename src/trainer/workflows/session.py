"""What a command that trains passes to each of its runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

InterruptCheck = Callable[[], str | None]
"""Called about once a second and at the end of each epoch; a reason ends training with a checkpoint."""


def never_interrupted() -> str | None:
    """Return None: training is not interrupted."""
    return None


@dataclass(frozen=True, slots=True)
class Session:
    """A command that trains one or more runs.

    Attributes:
        command: The command line, for the manifests.
        allow_custom: Whether custom functions may be imported.
        interrupted: Returns the reason to end training, if there is one.
    """

    command: tuple[str, ...] = ()
    allow_custom: bool = False
    interrupted: InterruptCheck = never_interrupted
