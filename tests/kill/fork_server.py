"""Many `trainer` processes at the cost of starting one.

Importing TensorFlow takes seconds. The fork server is a process that has imported everything and run
nothing: TensorFlow has no thread and no context there. Each command runs in a child forked from it,
which can receive signals and be killed like any process. test_fork_server.py checks that a child
computes the same as a process started separately.
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

from tests.cli.processes import HANGING_SECONDS


class ForkServer:
    """The process that children are forked from, until `close`."""

    def __init__(self, cache: Path) -> None:
        """Start it and wait until it has imported everything.

        Args:
            cache: The directory of compiled programs.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kill.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_CACHE_HOME": str(cache), "OPENBLAS_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
        )
        self._reply()

    def start(
        self,
        arguments: Sequence[str | Path],
        directory: Path,
        patches: Sequence[tuple[str, str, object]] = (),
        fault: dict[str, Any] | None = None,
    ) -> Child:
        """Run a `trainer` command in a directory.

        Args:
            arguments: The command line after `trainer`.
            directory: The working directory, where the files `out` and `err` are written.
            patches: Module, name and value, set in the child before the command runs.
            fault: Arguments of `tests.kill.faults.inject_fault`, or None.
        """
        request = {
            "arguments": [str(argument) for argument in arguments],
            "directory": str(directory),
            "patches": patches,
            "fault": fault,
        }
        pid = self._request(request)
        return Child(self, pid, os.pidfd_open(pid), directory)

    def reap(self, pid: int) -> int:
        """Return the exit code of a child that has ended; negative for a signal."""
        return self._request({"reap": pid})

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _request(self, request: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._reply()

    def _reply(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@dataclass(slots=True)
class Child:
    """A process forked from the server.

    Attributes:
        code: The exit code, once it has ended.
    """

    server: ForkServer
    pid: int
    descriptor: int
    directory: Path
    code: int | None = None

    def has_ended(self, seconds: float) -> bool:
        """Return whether the process has ended, after waiting for at most `seconds`."""
        if self.code is None:
            poll = select.poll()
            poll.register(self.descriptor, select.POLLIN)
            if not poll.poll(max(0.0, seconds) * 1000):
                return False
            self.code = self.server.reap(self.pid)
            os.close(self.descriptor)
        return True

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        if not self.has_ended(HANGING_SECONDS):
            self.send(signal.SIGKILL)
            self.has_ended(HANGING_SECONDS)
            raise TimeoutError(f"the process hangs: {self.err}")
        assert self.code is not None
        return self.code

    def send(self, signal_number: int) -> None:
        """Send a signal; ignored when the process has ended."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.descriptor, signal_number)

    @property
    def out(self) -> str:
        return (self.directory / "out").read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return (self.directory / "err").read_text(encoding="utf-8")


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
        pid = os.fork()
        if pid == 0:
            _run(request)
        print(pid, flush=True)


def _import_everything() -> None:
    from trainer.engine import devices

    # Like the command, without the packages that Keras would import in addition.
    devices._import_quietly()
    for package in ("trainer", "trainer_cli"):
        imported = importlib.import_module(package)
        for module in pkgutil.walk_packages(imported.__path__, f"{package}."):
            importlib.import_module(module.name)


def _run(request: dict[str, Any]) -> None:
    """Run a command in the child, as a separate process would."""
    code = 1
    try:
        os.setsid()
        os.chdir(request["directory"])
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
            from tests.kill.faults import inject_fault

            inject_fault(**request["fault"])
        from trainer.engine.program_cache import cache_root, use_cache
        from trainer_cli.main import main

        # As at every startup: a killed process may have left a partial program.
        use_cache(cache_root())
        sys.argv = ["trainer", *request["arguments"]]
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
