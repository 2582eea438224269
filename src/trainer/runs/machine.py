"""The machine, without TensorFlow: package versions, processor, memory, git repository.

Every query is fast, and a query that fails returns None or a default.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trainer.packages import DISTRIBUTION

PACKAGES = (DISTRIBUTION, "tensorflow", "keras", "numpy", "polars", "pydantic", "pyyaml")
"""The packages that a run depends on."""

_GIT_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class GitState:
    """The state of the config's git repository.

    Attributes:
        commit: Hash of the current commit.
        dirty: Whether tracked files differ from the commit; None if the check took too long.
    """

    commit: str
    dirty: bool | None


def user_cache() -> Path:
    """Return the folder of all caches: `$XDG_CACHE_HOME/trainer`."""
    home = os.environ["XDG_CACHE_HOME"] if os.environ.get("XDG_CACHE_HOME") else "~/.cache"
    return Path(home).expanduser() / "trainer"


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed, without importing them."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def git_state(directory: Path) -> GitState | None:
    """Return the git state of a directory; None outside a repository or if `git` fails."""
    commit = _git(directory, "rev-parse", "--verify", "HEAD")
    if not commit:
        return None
    changes = _git(
        directory, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules"
    )
    return GitState(commit=commit.strip(), dirty=None if changes is None else bool(changes.strip()))


def processor_name() -> str:
    """Return the processor's name, or the machine type if the name is unavailable."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*: (.*\S)", text, re.MULTILINE)
    return match[1] if match else platform.machine()


def total_memory() -> int | None:
    """Return the bytes of memory of this machine, within the cgroup limit; None if unknown."""
    total = _memory_line("MemTotal")
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return total
    return None if total is None else min(total, limit)


def available_memory() -> int | None:
    """Return the bytes that a process can still allocate, within its cgroup limit; None if unknown."""
    free = _memory_line("MemAvailable")
    if free is None:
        return None
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        return min(free, max(0, limit - int((group / "memory.current").read_text())))
    except (OSError, ValueError):
        return free


def _memory_line(name: str) -> int | None:
    """Return a size in `/proc/meminfo`, in bytes; None if it is not there."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        (size,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
    except (OSError, ValueError):
        return None
    return size


def _git(directory: Path, *arguments: str) -> str | None:
    # A repository can configure a program as its file system monitor, which must not run here.
    # Variables such as GIT_DIR, set inside a git hook, would point to another repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        completed = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-C", str(directory), *arguments],
            capture_output=True,
            check=True,
            text=True,
            errors="replace",
            timeout=_GIT_SECONDS,
            stdin=subprocess.DEVNULL,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout
