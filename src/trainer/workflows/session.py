"""What a command that trains passes to each of its runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter, process_time
from typing import Self

from trainer.runs.manifest import TIME_LIMIT

InterruptCheck = Callable[[], str | None]
"""Called about once a second and at the end of each epoch; a reason ends training with a checkpoint."""

_MIN_CPU_SECONDS = 0.5


def never_interrupted() -> str | None:
    """Return None: training is not interrupted."""
    return None


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """The time limit of a command. It is not a setting: it affects when training stops, but never the
    resulting bytes.

    Attributes:
        seconds: The limit.
        start: When it started, by `perf_counter`.
        cpu_start: The CPU seconds of this process at that time.
        training_end: When training ends, by `perf_counter`.
    """

    seconds: float
    start: float
    cpu_start: float
    training_end: float

    @classmethod
    def from_now(cls, seconds: float) -> Self:
        """Return a limit that starts now."""
        now = perf_counter()
        return cls(seconds, now, process_time(), now + seconds)

    @property
    def reason(self) -> str:
        """Why training ended, for the manifest."""
        return f"{TIME_LIMIT}: {self.seconds:g} seconds have passed"

    @property
    def is_over(self) -> bool:
        """Whether training must end."""
        return perf_counter() >= self.training_end

    def with_reserve(self, cpu_seconds: float) -> Self:
        """Return the limit with time set aside for what follows the training, at most half of it.

        Args:
            cpu_seconds: Its CPU seconds; on a busy machine they take longer.
        """
        waited = (perf_counter() - self.start) / max(
            _MIN_CPU_SECONDS, process_time() - self.cpu_start
        )
        seconds = min(cpu_seconds * max(1.0, waited), self.seconds / 2)
        return replace(self, training_end=self.training_end - seconds)

    def share(self, part: int, whole: int) -> Self:
        """Return a limit that ends after `part / whole` of the time that is left."""
        now = perf_counter()
        return replace(self, training_end=now + (self.training_end - now) * part / whole)


@dataclass(frozen=True, slots=True)
class Session:
    """A command that trains one or more runs.

    Attributes:
        command: The command line, for the manifests.
        allow_custom: Whether custom functions may be imported.
        interrupted: Returns the reason to end training, if there is one.
        time_limit: The time limit; None for none.
    """

    command: tuple[str, ...] = ()
    allow_custom: bool = False
    interrupted: InterruptCheck = never_interrupted
    time_limit: TimeLimit | None = None

    def share(self, part: int, whole: int) -> Self:
        """Return the session for `part` of `whole` runs, with that share of the time left."""
        limit = None if self.time_limit is None else self.time_limit.share(part, whole)
        return replace(self, time_limit=limit)

    def training_stop(self) -> str | None:
        """Return the reason to end training, if any, such as the end of its time."""
        reason = self.interrupted()
        if reason is None and self.time_limit is not None and self.time_limit.is_over:
            return self.time_limit.reason
        return reason

    def is_time_over(self, reason: str | None) -> bool:
        """Return whether training ended for this reason because it ran out of time."""
        return self.time_limit is not None and reason == self.time_limit.reason
