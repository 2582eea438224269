"""Messages between a worker and its pool, and the worker's side of the conversation.

    work item ─► train ─ event ─► … ─ reply ─► … ─ done

After each epoch the worker waits for a reply, so that members can be ended and training stopped.
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
    """A message to a worker: members to end, and why to stop.

    Attributes:
        end_reasons: Members to end after the reported epoch.
        stop: The reason to stop, or None.
        is_epoch_reply: Whether it replies to an epoch; else it was sent in between.
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


def run_worker(channel: Channel, tables: TableCache) -> None:
    """Load TensorFlow, then run work items until the connection closes, which ends this process."""
    with devices.tensorflow_import(in_background=True):
        pass
    warn_once()
    while True:
        try:
            message = channel.recv()
            if isinstance(message, WorkItem):
                channel.send(_run_item(message, tables, channel))
        except (EOFError, OSError):
            os._exit(0)


def _run_item(item: WorkItem, tables: TableCache, channel: Channel) -> ItemDone:
    stop_reasons: list[str] = []

    def interrupted() -> str | None:
        while channel.poll():
            _receive(channel, stop_reasons)
        return stop_reasons[0] if stop_reasons else None

    try:
        events = run_work_item(item, tables, interrupted)
        end_reasons: EndReasons | None = None
        while True:
            try:
                event = events.send(end_reasons)
            except StopIteration as end:
                return ItemDone(stopped=end.value)
            end_reasons = None
            channel.send(event)
            if isinstance(event, PackEpochEnded):
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
