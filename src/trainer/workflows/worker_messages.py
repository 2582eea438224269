"""What is said about a task between the process that trains it and the one that asked for it.

    task ─► work ─ event ─► … ─ answer ─► … ─ done

After each epoch who trains waits for an answer, so that members can be ended and training stopped.

Owns: the messages, and the side of the one who trains. Does not own: how they travel (`workers`,
`cluster`), the side of the one who asks (`crew`), the work (`many`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Protocol

from trainer.engine import devices
from trainer.errors import Problem, TrainerError
from trainer.tracking.trackers import warn_once
from trainer.workflows.pack_events import PackEpochEnded
from trainer.workflows.plan import TableCache
from trainer.workflows.work_items import EndReasons, WorkItem, run_work_item


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker is told: members to end, and why to stop.

    Attributes:
        ends: Members to be ended after the epoch that was told of.
        stop: Why to stop, or None.
        is_epoch_reply: To an epoch; else it was said in between.
    """

    ends: EndReasons = field(default_factory=dict)
    stop: str | None = None
    is_epoch_reply: bool = True


@dataclass(frozen=True, slots=True)
class ItemDone:
    """A task is over: stopped for a reason, failed with problems, or done."""

    stopped: str | None = None
    error: type[TrainerError] | None = None
    problems: tuple[Problem, ...] = ()
    bug: str = ""


class Channel(Protocol):
    """Where a worker hears and speaks; a pipe's `Connection` is one.

    `recv` and `send` raise EOFError or OSError when nobody is at the other end.
    """

    def send(self, message: Any, /) -> None:
        """Say something."""
        ...

    def recv(self) -> Any:
        """Wait for what is said next."""
        ...

    def poll(self) -> bool:
        """Whether something was said."""
        ...


def run_worker(channel: Channel, tables: TableCache) -> None:
    """Load TensorFlow, then do task after task; this process ends when nobody gives any more."""
    with devices.tensorflow_import(in_background=True):
        pass
    warn_once()
    while True:
        try:
            said = channel.recv()
            if isinstance(said, WorkItem):
                channel.send(_do(said, tables, channel))
        except (EOFError, OSError):
            os._exit(0)


def _do(item: WorkItem, tables: TableCache, channel: Channel) -> ItemDone:
    receive: list[str] = []

    def interrupted() -> str | None:
        while channel.poll():
            _listen(channel, receive)
        return receive[0] if receive else None

    try:
        working = run_work_item(item, tables, interrupted)
        ends: EndReasons | None = None
        while True:
            try:
                event = working.send(ends)
            except StopIteration as over:
                return ItemDone(stopped=over.value)
            ends = None
            channel.send(event)
            if isinstance(event, PackEpochEnded):
                ends = _reply(channel, receive)
    except TrainerError as wrong:
        return ItemDone(error=type(wrong), problems=wrong.problems)
    except (EOFError, OSError):
        os._exit(0)
    except Exception as bug:
        import traceback

        return ItemDone(bug="".join(traceback.format_exception(bug)))


def _reply(channel: Channel, receive: list[str]) -> EndReasons:
    """What is answered to an epoch; what was said in between is heard too."""
    while True:
        reply = _listen(channel, receive)
        if reply.is_epoch_reply:
            return reply.ends


def _listen(channel: Channel, receive: list[str]) -> Reply:
    try:
        reply: Reply = channel.recv()
    except (EOFError, OSError):
        # Whoever asked for this is gone: another may be at work on the same directories.
        os._exit(0)
    if reply.stop is not None:
        receive.append(reply.stop)
    return reply
