"""Run a command as one process and measure its time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
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
    """A process that ended successfully.

    Attributes:
        output: Its standard output.
        seconds: Wall-clock time from start to end.
        cpu_seconds: CPU time of the process and the children that it waited for.
        peak_bytes: Peak resident memory; at least that of the parent process.
    """

    output: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Ended:
    """Run a command in the root of the repository.

    Raises:
        RuntimeError: The command failed; contains its standard error.
    """
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start_time = perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, cwd=ROOT, env=variables)
        # Unlike process.wait(), this returns the resources used by this process.
        _, status, used = os.wait4(process.pid, 0)
        seconds = perf_counter() - start_time
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            text = " ".join(map(str, command))
            raise RuntimeError(f"{text}\n{errors.read().decode(errors='replace')}")
        cpu_seconds = used.ru_utime + used.ru_stime
        return Ended(output.read().decode(), seconds, cpu_seconds, used.ru_maxrss * 1024)


def python(
    code: str, folder: Path, *arguments: object, program: str | Path = sys.executable
) -> str:
    """Return what Python code prints that runs in a folder, with its own compilation cache.

    Args:
        code: The code.
        folder: The folder.
        arguments: Its arguments.
        program: The interpreter.

    Raises:
        subprocess.CalledProcessError: The code failed.
    """
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    result = subprocess.run(
        [Path(program).absolute(), "-c", code, *map(str, arguments)],
        cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return result.stdout.strip()
