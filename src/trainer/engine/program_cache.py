"""Persistent cache of compiled programs in the user's cache directory.

XLA reads and writes the programs. A truncated file makes TensorFlow fail, so files are checked against
an index of sizes and hashes before TensorFlow sees them, and files that are not in the index are
deleted. The size of the directory is limited, oldest files are deleted first; it can be deleted at any
time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainer.errors import StorageError
from trainer.runs.files import json_bytes, sha256_of, write_atomically
from trainer.runs.machine import user_cache

MAX_BYTES = 100_000_000
_INDEX = "index.json"
_FLAGS = "TF_XLA_FLAGS"


def cache_root() -> Path:
    """Return the directory of all compiled programs: `$XDG_CACHE_HOME/trainer/programs`."""
    return user_cache() / "programs"


def use_cache(root: Path) -> None:
    """Make TensorFlow cache its programs under `root`, if writable; call before importing TensorFlow."""
    directory = root / _machine_hash()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _clean(directory)
    except OSError:
        return
    if not os.access(directory, os.W_OK):
        return
    flag = f"--tf_xla_persistent_cache_directory={directory}"
    flags = os.environ[_FLAGS].split() if _FLAGS in os.environ else []
    if not any(other.startswith("--tf_xla_persistent_cache_directory") for other in flags):
        os.environ[_FLAGS] = " ".join([*flags, flag])


def index_programs(root: Path) -> None:
    """Add newly written programs to the index; if that fails, they are not cached."""
    directory = root / _machine_hash()
    with contextlib.suppress(OSError, StorageError):
        index = _read_index(directory)
        files = {path.name: path for path in _programs(directory)}
        new = {name: _entry(path) for name, path in files.items() if name not in index}
        if new:
            existing = {name: entry for name, entry in index.items() if name in files}
            write_atomically(directory / _INDEX, json_bytes({**existing, **new}))


def cache_bytes(root: Path) -> int:
    """Return the size of all compiled programs in bytes."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def clear_cache(root: Path) -> int:
    """Delete all compiled programs; return the number of bytes freed."""
    freed = 0
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_file() and not path.is_symlink():
            freed += path.stat().st_size
            path.unlink()
        elif path.is_dir():
            path.rmdir()
    return freed


def _clean(directory: Path) -> None:
    """Delete incomplete files, then the oldest ones until the rest is within the size limit."""
    index = _read_index(directory)
    total = 0
    newest_first = sorted(_programs(directory), key=lambda path: -path.stat().st_mtime)
    for path in newest_first:
        size = path.stat().st_size
        is_complete = path.name in index and index[path.name] == _entry(path)
        if not is_complete or total + size > MAX_BYTES:
            path.unlink(missing_ok=True)
        else:
            total += size


def _programs(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.name != _INDEX and path.is_file()]


def _entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _read_index(directory: Path) -> dict[str, Any]:
    try:
        index = json.loads((directory / _INDEX).read_bytes())
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}


def _machine_hash() -> str:
    """Return a hash of what compiled programs depend on: the versions and the processor."""
    parts = [version("tensorflow"), version("keras"), platform.machine()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        parts += sorted({line for line in lines if line.startswith(("flags", "model name"))})
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
