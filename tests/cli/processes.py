"""`trainer` as a process of its own: what tests of signals, kills and disks start."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

COMMAND = (sys.executable, "-c", "from trainer_cli.main import main; main()")
SECONDS = 120

Found = TypeVar("Found")


class Process:
    """A `trainer` process and the run it writes to `runs`."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for(self, pattern: str) -> Path:
        """The first file that matches and is not empty."""
        return self.wait_until(
            lambda: next((path for path in Path("runs").glob(pattern) if path.stat().st_size), None)
        )

    def wait_until(self, look: Callable[[], Found | None]) -> Found:
        """What `look` finds, as soon as it finds something, while the process lives."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            if found := look():
                return found
            time.sleep(0.02)
        self.process.kill()
        pytest.fail(f"it was not found: {self.process.communicate()}")

    def end(self, number: int | None = None) -> tuple[int, str, str]:
        """The exit code and what was said, after a signal."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, err
