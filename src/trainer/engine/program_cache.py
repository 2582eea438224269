"""Compiled programs, kept between processes in the user's cache directory.

XLA writes and reads them; a program that was cut off in the writing makes TensorFlow fail, so what is
there is checked against an index of sizes and hashes before TensorFlow may see it, and what is not in
the index is thrown away. The directory is bounded, oldest first, and can be deleted at any time.

Owns: where, how much, what is whole. Does not own: the compiling.
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

MAX_BYTES = 100_000_000
_INDEX = "index.json"
_FLAGS = "TF_XLA_FLAGS"


def cache_root() -> Path:
    """The directory of all compiled programs: `$XDG_CACHE_HOME/trainer/programs`."""
    home = os.environ["XDG_CACHE_HOME"] if os.environ.get("XDG_CACHE_HOME") else "~/.cache"
    return Path(home).expanduser() / "trainer" / "programs"


def use_cache(root: Path) -> None:
    """Let the TensorFlow that is about to be imported keep its programs under `root`, if it can."""
    directory = root / _machine()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _clean(directory)
    except OSError:
        return
    if not os.access(directory, os.W_OK):
        return
    flag = f"--tf_xla_persistent_cache_directory={directory}"
    flags = os.environ[_FLAGS].split() if _FLAGS in os.environ else []
    if not any(one.startswith("--tf_xla_persistent_cache_directory") for one in flags):
        os.environ[_FLAGS] = " ".join([*flags, flag])


def index_programs(root: Path) -> None:
    """Take the programs that were written since into the index; what fails is only not kept."""
    directory = root / _machine()
    with contextlib.suppress(OSError, StorageError):
        index = _read_index(directory)
        files = {path.name: path for path in _programs(directory)}
        new = {name: _fact(path) for name, path in files.items() if name not in index}
        if new:
            kept = {name: fact for name, fact in index.items() if name in files}
            write_atomically(directory / _INDEX, json_bytes({**kept, **new}))


def cache_bytes(root: Path) -> int:
    """How many bytes all compiled programs take."""
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def clear_cache(root: Path) -> int:
    """Delete all compiled programs; how many bytes they took."""
    freed = 0
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_file() and not path.is_symlink():
            freed += path.stat().st_size
            path.unlink()
        elif path.is_dir():
            path.rmdir()
    return freed


def _clean(directory: Path) -> None:
    """Delete what is not whole, then the oldest until the rest is within bounds."""
    index = _read_index(directory)
    left = 0
    newest_first = sorted(_programs(directory), key=lambda path: -path.stat().st_mtime)
    for path in newest_first:
        size = path.stat().st_size
        whole = path.name in index and index[path.name] == _fact(path)
        if not whole or left + size > MAX_BYTES:
            path.unlink(missing_ok=True)
        else:
            left += size


def _programs(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.name != _INDEX and path.is_file()]


def _fact(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _read_index(directory: Path) -> dict[str, Any]:
    try:
        index = json.loads((directory / _INDEX).read_bytes())
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}


def _machine() -> str:
    """What a compiled program depends on besides itself: TensorFlow and the processor."""
    facts = [version("tensorflow"), version("keras"), platform.machine()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        facts += sorted({line for line in lines if line.startswith(("flags", "model name"))})
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
