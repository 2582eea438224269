"""Follow a training run in the terminal: signals, progress, result and exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from trainer.errors import TrainerError
from trainer_cli import console

if TYPE_CHECKING:
    from collections.abc import Generator

    from trainer.workflows.session import Session

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
Finished = TypeVar("Finished")
"""The last event of a training run."""


class Stopped(KeyboardInterrupt):
    """Raised by a signal that must end the command immediately."""


class Signals:
    """Handles Ctrl-C and SIGTERM: the first saves a checkpoint, the second stops immediately."""

    def __init__(self) -> None:
        self.training = False
        self._received: int | None = None
        self._raised = False

    @property
    def exit_code(self) -> int:
        """75 after SIGTERM, 130 after Ctrl-C."""
        return 75 if self._received == signal.SIGTERM else 130

    def reason(self) -> str | None:
        """Return why training should stop; None if it should not."""
        if self._received is None:
            return None
        return "stopped by SIGTERM" if self._received == signal.SIGTERM else "stopped by Ctrl-C"

    def session(self, *, allow_custom: bool, max_seconds: float | None = None) -> Session:
        """Return the session of this command, which the signals interrupt; its time starts now."""
        from trainer.workflows.session import Session, TimeLimit

        limit = None if max_seconds is None else TimeLimit.from_now(max_seconds)
        return Session(("trainer", *sys.argv[1:]), allow_custom, self.reason, limit)

    def run(self, train: Callable[[], int]) -> int:
        """Train while the signals are handled; return the exit code."""
        try:
            with self.caught():
                return train()
        except Stopped:
            # Caught here, because typer would treat it as Ctrl-C for any signal.
            console.error(str(self.reason()))
            return self.exit_code

    @contextmanager
    def caught(self) -> Iterator[None]:
        """While active, handle the two signals.

        Raises:
            Stopped: A signal had to end the command immediately, even if a library turned the exception
                into another one.
        """
        previous = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        try:
            yield
        except Exception as error:
            if self._raised:
                raise Stopped from error
            raise
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        at_once = self._received is not None or not self.training
        self._received = number
        if at_once:
            self._raised = True
            raise Stopped


class View(Generic[Finished]):
    """Shows one training run: its start, its progress on stderr, and its result on stdout."""

    def show(self, event: Any, signals: Signals) -> Finished | None:
        """Show an event; return it if it is the last one.

        At the start of the training, set `signals.training`.
        """
        raise NotImplementedError

    def failed(self, error: TrainerError) -> None:
        """Print what helps after an error, before the error itself."""

    def close(self) -> None:
        """Remove progress from the terminal; a second call does nothing."""

    def print_result(self, finished: Finished) -> None:
        """Print the result on stdout."""
        raise NotImplementedError


def follow(events: Generator[Any, None, None], view: View[Finished], signals: Signals) -> Finished:
    """Train to the end, show the progress, and return the last event."""
    try:
        for event in events:
            finished = view.show(event, signals)
            if finished is not None:
                return finished
    except TrainerError as error:
        view.close()
        view.failed(error)
        raise
    finally:
        signals.training = False
        view.close()
        events.close()
    raise AssertionError("training ends with a final event")


def show_training(events: Generator[Any, None, None], view: View[Any], signals: Signals) -> int:
    """Train to the end, show the progress, print the result, and return the exit code."""
    finished = follow(events, view, signals)
    view.print_result(finished)
    return signals.exit_code if finished.status == "stopped" else 0
