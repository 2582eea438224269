"""One measurement is one process: its result, how long it took and how much memory it held."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
OURS = ROOT / ".venv" / "bin"
PEERS = ROOT / ".venv-bench" / "bin"


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended well.

    Attributes:
        output: What it printed.
        seconds: Wall-clock time from start to end.
        peak_bytes: Its largest resident size; at least that of the process which started it.
    """

    output: str
    seconds: float
    peak_bytes: int


def run(words: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Ended:
    """Run a command in the root of the repository.

    Raises:
        RuntimeError: It failed; with what it said.
    """
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = perf_counter()
        process = subprocess.Popen(words, stdout=output, stderr=errors, cwd=ROOT, env=variables)
        # In place of process.wait(): it gives what this one process used.
        _, status, used = os.wait4(process.pid, 0)
        seconds = perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            command = " ".join(map(str, words))
            raise RuntimeError(f"{command}\n{errors.read().decode(errors='replace')}")
        return Ended(output.read().decode(), seconds, used.ru_maxrss * 1024)
