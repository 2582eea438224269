"""`trainer` as a separate process, for tests of signals and kills."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

COMMAND = (sys.executable, "-c", "from trainer_cli.main import main; main()")
HANGING_SECONDS = 600
"""A process that has neither ended nor done what is waited for by then hangs."""

T = TypeVar("T")


class Process:
    """A `trainer` process that writes its runs to `runs`."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for_file(self, pattern: str) -> Path:
        """Return the first file below `runs` that matches and is not empty."""
        return self.wait_until(
            lambda: next((path for path in Path("runs").glob(pattern) if path.stat().st_size), None)
        )

    def wait_until(self, condition: Callable[[], T | None]) -> T:
        """Return the first true value of `condition`; fail when the process ends before."""
        end = time.monotonic() + HANGING_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            if value := condition():
                return value
            time.sleep(0.02)
        self.process.kill()
        pytest.fail(f"the process ended, or hangs: {self.process.communicate()}")

    def end(self, signal_number: int | None = None) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr, after sending a signal if one is given."""
        if signal_number is not None:
            self.process.send_signal(signal_number)
        out, err = self.process.communicate(timeout=HANGING_SECONDS)
        return self.process.returncode, out, err

    def kill(self) -> None:
        """End the process if it is still running."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
