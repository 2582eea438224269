"""Which process writes a run, and whether it still lives.

A process id alone does not say: ids are used again, differ between containers, and mean nothing on
another host. So a process is known by its host, its id space (boot and process namespace) and its
start time as well, and "unknown" is one of the answers.

Owns: naming a process and looking whether it lives. Does not own: what follows from that (`lock`,
`manifest`).
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A process, so named that another one is not taken for it.

    Attributes:
        host: The name of the machine.
        pid: The process id.
        space: The boot and the process namespace in which `pid` means something; empty where the
            system does not say.
        started: The start time in the system's own unit; empty where the system does not say.
    """

    host: str
    pid: int
    space: str
    started: str


def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    return Process(
        host=socket.gethostname(), pid=pid, space=_space(), started=_start_time(pid) or ""
    )


def is_alive(process: Process, here: Process) -> bool | None:
    """Whether a process lives, as seen from the process `here`; None when that cannot be known."""
    if (process.host, process.space) != (here.host, here.space):
        return None
    if process.pid < 1:
        return False
    try:
        os.kill(process.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    started = _start_time(process.pid)
    return not process.started or started is None or started == process.started


def _space() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _start_time(pid: int) -> str | None:
    """Clock ticks from boot to a process's start (proc(5), stat, field 22); of a zombie "dead"."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name of the program, in brackets, can hold blanks and brackets itself.
    state, *rest = text.rpartition(")")[2].split()
    return "dead" if state in {"Z", "X"} else rest[18]
