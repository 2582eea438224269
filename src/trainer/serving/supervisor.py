"""Worker processes that listen on one socket, and are started again when they die."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any

from trainer.errors import Problem, ResourceError
from trainer.serving.counters import Counters
from trainer.serving.settings import WorkerSettings, settings_json
from trainer.serving.worker import READY

_START_SECONDS = 60.0
_WAIT = 0.1
_MIN_LIFE = 2.0
_MAX_EARLY_ENDS = 5
"""After as many workers in a row that ended within seconds, the server gives up."""


class Supervisor:
    """Starts workers, and replaces those that end."""

    def __init__(
        self,
        settings: WorkerSettings,
        listener: socket.socket,
        workers: int,
        counters: Counters,
        log: Callable[[str], None],
    ) -> None:
        """Prepare workers that share a socket.

        Args:
            settings: What they serve; each gets its own number.
            listener: The socket, which listens already.
            workers: The number of workers.
            counters: The counters of the supervisor.
            log: Called with messages.
        """
        self._settings = settings
        self._listener = listener
        self._counters = counters
        self._log = log
        self._workers: list[subprocess.Popen[bytes] | None] = [None] * workers
        self._started = [0.0] * workers
        self._early_ends = 0
        self.signal: int | None = None

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [worker.pid for worker in self._workers if worker is not None]

    def run(self, on_ready: Callable[[], None], on_tick: Callable[[], None]) -> int | None:
        """Serve until a signal; return the signal.

        Args:
            on_ready: Called when all workers are ready.
            on_tick: Called several times a second.

        Raises:
            ResourceError: Workers do not start, or end again and again.
        """
        previous: dict[int, Any] = {
            number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            for number in range(len(self._workers)):
                self._start(number)
            for number in range(len(self._workers)):
                self._wait_until_ready(number)
            if self.signal is None:
                on_ready()
            while self.signal is None:
                time.sleep(_WAIT)
                self._replace_dead()
                on_tick()
        finally:
            self._end()
            for number, handler in previous.items():
                signal.signal(number, handler)
        return self.signal

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self.signal == number == signal.SIGINT:
            for worker in self._workers:
                if worker is not None:
                    worker.kill()
        self.signal = number

    def _start(self, number: int) -> None:
        descriptor = self._listener.fileno()
        worker = subprocess.Popen(
            [sys.executable, "-m", "trainer.serving.worker", str(descriptor)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[descriptor],
        )
        self._workers[number] = worker
        self._started[number] = time.monotonic()
        content = settings_json(replace(self._settings, worker=number))
        assert worker.stdin is not None
        try:
            worker.stdin.write(len(content).to_bytes(8, "big") + content)
            worker.stdin.flush()
        except OSError:
            return  # it has ended already, which is noticed next

    def _wait_until_ready(self, number: int) -> None:
        worker = self._workers[number]
        assert worker is not None
        assert worker.stdout is not None
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self.signal is None:
            readable, _, _ = select.select([worker.stdout], [], [], _WAIT)
            if readable and os.read(worker.stdout.fileno(), len(READY)) == READY:
                return
            if readable or worker.poll() is not None:
                break
        if self.signal is None:
            found = f"exit code {worker.wait(_WAIT)}" if worker.poll() is not None else "silence"
            raise ResourceError(
                Problem("trainer serve", "a worker that starts", found, "see the messages above")
            )

    def _replace_dead(self) -> None:
        for number, worker in enumerate(self._workers):
            if worker is None or worker.poll() is None or self.signal is not None:
                continue
            self._close(worker)
            code = worker.returncode
            reason = f"signal {-code}" if code < 0 else f"exit code {code}"
            is_early = time.monotonic() - self._started[number] < _MIN_LIFE
            self._early_ends = self._early_ends + 1 if is_early else 0
            if self._early_ends >= _MAX_EARLY_ENDS:
                raise ResourceError(
                    Problem(
                        "trainer serve",
                        "workers that keep running",
                        f"{self._early_ends} that ended within seconds, the last by {reason}",
                        "see the messages above",
                    )
                )
            self._log(f"worker {worker.pid} ended by {reason}; starting another one")
            self._counters.count_restart()
            self._start(number)

    def _end(self) -> None:
        """Let workers finish their requests, then end them."""
        self._listener.close()
        workers = [worker for worker in self._workers if worker is not None]
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
        end = time.monotonic() + self._settings.limits.timeout + 5
        for worker in workers:
            try:
                worker.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            self._close(worker)

    @staticmethod
    def _close(worker: subprocess.Popen[bytes]) -> None:
        for stream in (worker.stdin, worker.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue
