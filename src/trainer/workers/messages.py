"""Messages between a worker and its pool, and the worker's side of the conversation.

    item ─► pool ─ item ─► worker ─ event ─► pool ─ reply ─► worker … ─ done ─► pool

After each epoch the worker waits for a reply, so that members can be ended and training stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from trainer.errors import Problem, TrainerError

EndReasons = Mapping[int, str]
"""Members to end after an epoch, and why."""


class Event:
    """Progress of a work item."""

    __slots__ = ()


class EpochEvent(Event):
    """Progress after which the worker waits for a reply."""

    __slots__ = ()


class WorkItem(Protocol):
    """One or more networks to be trained by one worker."""

    @property
    def directory(self) -> Path:
        """The directory of its state, for error messages."""
        ...

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of its networks."""
        ...

    @property
    def locks(self) -> tuple[Path, ...]:
        """The lock files of the run directories it writes."""
        ...


class Runner(Protocol):
    """Runs work items and caches their tables. Each worker creates a runner, without arguments."""

    def prepare(self) -> None:
        """Prepare the process before the first item arrives."""
        ...

    def run(
        self, item: Any, interrupted: Callable[[], str | None], /
    ) -> Generator[Event, EndReasons | None, str | None]:
        """Run a work item; the caller sends the members to end after each `EpochEvent`.

        Returns:
            Why it was stopped; None if it is complete.

        Raises:
            TrainerError: The item failed.
        """
        ...

    def tables(self, item: Any, /) -> Mapping[str, Any]:
        """Return the tables of an item by key, except those that each process reads itself.

        Tables in the mapping can be sent to another process.
        """
        ...

    def has_table(self, key: str, /) -> bool:
        """Return whether it has a table."""
        ...

    def add_table(self, key: str, table: Any, /) -> None:
        """Add a table that another process has read."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """A message to a worker: members to end, and the reason to stop.

    Attributes:
        end_reasons: Members to end after the reported epoch.
        stop: The reason to stop, or None.
        is_epoch_reply: Whether it replies to an epoch; otherwise it was sent in between.
    """

    end_reasons: EndReasons = field(default_factory=dict)
    stop: str | None = None
    is_epoch_reply: bool = True


@dataclass(frozen=True, slots=True)
class ItemDone:
    """A work item has ended: stopped for a reason, failed with problems, or complete."""

    stopped: str | None = None
    error: type[TrainerError] | None = None
    problems: tuple[Problem, ...] = ()
    bug: str = ""


class Channel(Protocol):
    """A two-way connection of a worker, such as the `Connection` of a pipe.

    `recv` and `send` raise EOFError or OSError if the other end is closed.
    """

    def send(self, message: Any, /) -> None:
        """Send a message."""
        ...

    def recv(self) -> Any:
        """Wait for the next message."""
        ...

    def poll(self) -> bool:
        """Return whether a message is waiting."""
        ...


def run_worker(channel: Channel, runner: Runner) -> None:
    """Prepare, then run work items until the connection closes, which ends this process."""
    runner.prepare()
    while True:
        try:
            message = channel.recv()
            # A reason to stop can arrive after the item has ended.
            if not isinstance(message, Reply):
                channel.send(_run_item(message, runner, channel))
        except (EOFError, OSError):
            os._exit(0)


def _run_item(item: WorkItem, runner: Runner, channel: Channel) -> ItemDone:
    stop_reasons: list[str] = []

    def interrupted() -> str | None:
        while channel.poll():
            _receive(channel, stop_reasons)
        return stop_reasons[0] if stop_reasons else None

    try:
        events = runner.run(item, interrupted)
        end_reasons: EndReasons | None = None
        while True:
            try:
                event = events.send(end_reasons)
            except StopIteration as end:
                return ItemDone(stopped=end.value)
            end_reasons = None
            channel.send(event)
            if isinstance(event, EpochEvent):
                end_reasons = _receive_reply(channel, stop_reasons)
    except TrainerError as error:
        return ItemDone(error=type(error), problems=error.problems)
    except (EOFError, OSError):
        os._exit(0)
    except Exception as bug:
        import traceback

        return ItemDone(bug="".join(traceback.format_exception(bug)))


def _receive_reply(channel: Channel, stop_reasons: list[str]) -> EndReasons:
    """Wait for the reply to an epoch; messages in between are handled too."""
    while True:
        reply = _receive(channel, stop_reasons)
        if reply.is_epoch_reply:
            return reply.end_reasons


def _receive(channel: Channel, stop_reasons: list[str]) -> Reply:
    try:
        reply: Reply = channel.recv()
    except (EOFError, OSError):
        # The pool is gone: another one may be working in the same directories.
        os._exit(0)
    if reply.stop is not None:
        stop_reasons.append(reply.stop)
    return reply
