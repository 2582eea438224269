"""What a machine says of itself without TensorFlow: package versions, processor, repository.

Owns: asking, quickly, and doing without an answer. Does not own: devices.
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
class Git:
    """The repository of the config.

    Attributes:
        commit: The commit it is at.
        dirty: Whether tracked files differ from the commit; None when that took too long to know.
    """

    commit: str
    dirty: bool | None


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """Versions of the packages that are installed, without importing them."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def git_state(directory: Path) -> Git | None:
    """The commit that a directory is at, if it is in a repository and `git` answers."""
    commit = _git(directory, "rev-parse", "--verify", "HEAD")
    if not commit:
        return None
    changes = _git(
        directory, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules"
    )
    return Git(commit=commit.strip(), dirty=None if changes is None else bool(changes.strip()))


def processor_name() -> str:
    """The processor's name, or its kind where the system does not say more."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*: (.*\S)", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def free_memory() -> int | None:
    """Bytes that a process can still take: what the system has, or its control group may have; None
    where neither says.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        (free,) = (int(line.split()[1]) * 1024 for line in lines if line[:13] == "MemAvailable:")
    except (OSError, ValueError):
        return None
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        return min(free, max(0, limit - int((group / "memory.current").read_text())))
    except (OSError, ValueError):
        return free


def _git(directory: Path, *words: str) -> str | None:
    # A repository can name a program as its monitor; looking at it must not run that. Variables
    # such as GIT_DIR, set inside a git hook, would lead to another repository.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-C", str(directory), *words],
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
    return answer.stdout
