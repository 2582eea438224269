"""Process identities that are unique across hosts and reboots, and checks whether a process is alive.

A process id alone is not enough: ids are reused, differ between containers, and mean nothing on another
host. An identity therefore includes the host, the id space (boot and process namespace) and the start
time. Whether a process is alive can be unknown.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process identity, unique across hosts and reboots.

    Attributes:
        host: Name of the machine.
        pid: Process id.
        space: Boot id and process namespace within which `pid` is unique; empty if unavailable.
        started: Start time in clock ticks since boot; empty if unavailable.
    """

    host: str
    pid: int
    space: str
    started: str


def this_process() -> ProcessIdentity:
    """Return the identity of the current process."""
    pid = os.getpid()
    return ProcessIdentity(
        host=socket.gethostname(), pid=pid, space=_space(), started=_start_time(pid) or ""
    )


def is_alive(process: ProcessIdentity, observer: ProcessIdentity) -> bool | None:
    """Return whether a process is alive, as seen from the process `observer`; None if unknown."""
    if (process.host, process.space) != (observer.host, observer.space):
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
    """Return clock ticks from boot to the start of a process (proc(5), stat, field 22); "dead" for a
    zombie.
    """
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The program name, in parentheses, can itself contain spaces and parentheses.
    state, *rest = text.rpartition(")")[2].split()
    return "dead" if state in {"Z", "X"} else rest[18]
