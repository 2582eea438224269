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
from trainer.workflows.many import Ends, Task, work
from trainer.workflows.pack_events import MembersEpoch
from trainer.workflows.plan import Tables


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker is told: members to end, and why to stop.

    Attributes:
        ends: Members to be ended after the epoch that was told of.
        stop: Why to stop, or None.
        is_reply: To an epoch; else it was said in between.
    """

    ends: Ends = field(default_factory=dict)
    stop: str | None = None
    is_reply: bool = True


@dataclass(frozen=True, slots=True)
class Done:
    """A task is over: stopped for a reason, failed with problems, or done."""

    stopped: str | None = None
    error: type[TrainerError] | None = None
    problems: tuple[Problem, ...] = ()
    bug: str = ""


class Line(Protocol):
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


def serve(line: Line, tables: Tables) -> None:
    """Load TensorFlow, then do task after task; this process ends when nobody gives any more."""
    with devices.importing(worthwhile=True):
        pass
    warn_once()
    while True:
        try:
            said = line.recv()
            if isinstance(said, Task):
                line.send(_do(said, tables, line))
        except (EOFError, OSError):
            os._exit(0)


def _do(task: Task, tables: Tables, line: Line) -> Done:
    heard: list[str] = []

    def interrupted() -> str | None:
        while line.poll():
            _listen(line, heard)
        return heard[0] if heard else None

    try:
        working = work(task, tables, interrupted)
        ends: Ends | None = None
        while True:
            try:
                event = working.send(ends)
            except StopIteration as over:
                return Done(stopped=over.value)
            ends = None
            line.send(event)
            if isinstance(event, MembersEpoch):
                ends = _reply(line, heard)
    except TrainerError as wrong:
        return Done(error=type(wrong), problems=wrong.problems)
    except (EOFError, OSError):
        os._exit(0)
    except Exception as bug:
        import traceback

        return Done(bug="".join(traceback.format_exception(bug)))


def _reply(line: Line, heard: list[str]) -> Ends:
    """What is answered to an epoch; what was said in between is heard too."""
    while True:
        answer = _listen(line, heard)
        if answer.is_reply:
            return answer.ends


def _listen(line: Line, heard: list[str]) -> Answer:
    try:
        answer: Answer = line.recv()
    except (EOFError, OSError):
        # Whoever asked for this is gone: another may be at work on the same directories.
        os._exit(0)
    if answer.stop is not None:
        heard.append(answer.stop)
    return answer
