"""Many `trainer` processes for the price of one start.

Importing TensorFlow takes seconds. The nursery is a process that has imported everything and has run
nothing: TensorFlow has no thread and no context there. Each command runs in a child that is forked from
it, a process as good as any other: it can be sent signals and be killed, and no child knows of another.
That it computes the same as a process of its own is tested (test_nursery.py).

Owns: starting, watching and ending children. Does not own: what they are to do.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Nursery:
    """The process that children are forked from, until `close`."""

    def __init__(self, cache: Path) -> None:
        """Start it; ends when it has imported everything.

        Args:
            cache: The folder in which compiled programs are kept.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kill.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_CACHE_HOME": str(cache), "OPENBLAS_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
        )
        self._answer()

    def start(
        self,
        words: Sequence[str | Path],
        folder: Path,
        patches: Sequence[tuple[str, str, object]] = (),
        fault: dict[str, Any] | None = None,
    ) -> Child:
        """Run `trainer` with these words in a folder.

        Args:
            words: What follows `trainer`.
            folder: The working directory; takes the files `out` and `err`.
            patches: Module, name, value: set in the child before the command runs.
            fault: What goes wrong in it, as `tests.kill.faults.arm` takes it, or None.
        """
        request = {
            "words": [str(word) for word in words],
            "folder": str(folder),
            "patches": patches,
            "fault": fault,
        }
        number = self._ask(request)
        return Child(self, number, os.pidfd_open(number), folder)

    def reap(self, number: int) -> int:
        """The exit code of a child that has ended; negative for a signal."""
        return self._ask({"reap": number})

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, request: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@dataclass(slots=True)
class Child:
    """A process of the nursery.

    Attributes:
        number: Its process id.
        folder: Where it runs.
        code: Its exit code, once it has ended.
    """

    nursery: Nursery
    number: int
    descriptor: int
    folder: Path
    code: int | None = None

    def ended(self, seconds: float) -> bool:
        """Whether it has ended, after waiting for at most so many seconds."""
        if self.code is None:
            poll = select.poll()
            poll.register(self.descriptor, select.POLLIN)
            if not poll.poll(max(0.0, seconds) * 1000):
                return False
            self.code = self.nursery.reap(self.number)
            os.close(self.descriptor)
        return True

    def end(self, seconds: float = 120.0) -> int:
        """Its exit code; killed, and an error, if it does not end by itself in time."""
        if not self.ended(seconds):
            self.send(signal.SIGKILL)
            self.ended(seconds)
            raise TimeoutError(f"it went on for {seconds:.0f} s: {self.err}")
        assert self.code is not None
        return self.code

    def send(self, number: int) -> None:
        """Send a signal; one that has ended already takes none."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.descriptor, number)

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text(encoding="utf-8")


def _serve() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    _import_everything()
    print(0, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "reap" in request:
            _, status = os.waitpid(request["reap"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        number = os.fork()
        if number == 0:
            _run(request)
        print(number, flush=True)


def _import_everything() -> None:
    from trainer.engine import devices

    # The way the command does it: without what Keras would import besides.
    devices._import_quietly()
    for package in ("trainer", "trainer_cli"):
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            importlib.import_module(module.name)


def _run(request: dict[str, Any]) -> None:
    """In the child: the command, as its own process would run it."""
    code = 1
    try:
        os.setsid()
        os.chdir(request["folder"])
        for descriptor, name, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, "out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (2, "err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ):
            opened = os.open(name, flags, 0o644)
            os.dup2(opened, descriptor)
            os.close(opened)
        for module, name, value in request["patches"]:
            setattr(importlib.import_module(module), name, value)
        if request["fault"] is not None:
            from tests.kill.faults import arm

            arm(**request["fault"])
        from trainer.engine.program_cache import cache_root, use_cache
        from trainer_cli.main import main

        # As each start does: a killed process may have left a program in part.
        use_cache(cache_root())
        sys.argv = ["trainer", *request["words"]]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
