"""A bounded cache of folders of arrays on disk, which are computed once and then memory-mapped.

An entry is a folder whose name is a hash of what its content depends on. It is written under another
name and then renamed; a lock, which the operating system releases when the process ends, prevents
concurrent writes. The least recently used entries are removed when the cache exceeds its limit. It can
be deleted at any time.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from trainer.data.scratch_arrays import scratch_folder
from trainer.errors import Problem, StorageError
from trainer.runs.files import storage_errors

MAX_BYTES = 50_000_000_000
SIZE_VARIABLE = "TRAINER_IMAGE_CACHE_GB"

_PARTIAL, _LOCK = ".partial", ".lock"
_SPARE_BYTES = 1 << 28

Entry = TypeVar("Entry")


def max_bytes() -> int:
    """Return the limit of the cache in bytes: that of `TRAINER_IMAGE_CACHE_GB`, or 50 GB."""
    try:
        return int(float(os.environ[SIZE_VARIABLE]) * 1e9)
    except (KeyError, ValueError):
        return MAX_BYTES


class EntryCache:
    """The cache in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def load(
        self,
        key: str,
        size: int,
        open_entry: Callable[[Path], Entry],
        fill: Callable[[Path], None],
        content: str,
    ) -> Entry:
        """Return an entry, which is written if it is missing or damaged.

        An entry that is larger than the limit is written to an unnamed folder.

        Args:
            key: The name of the entry.
            size: Its size in bytes.
            open_entry: Opens it; raises OSError or ValueError if it is damaged.
            fill: Writes it to an empty folder.
            content: What it contains, for messages.

        Raises:
            StorageError: There is not enough disk space.
        """
        if size > max_bytes() or not self._is_writable():
            # Mapped files exist until they are closed, even after they have been deleted.
            with tempfile.TemporaryDirectory(dir=scratch_folder(), prefix="images-") as folder:
                _check_space(Path(folder), size, content)
                with storage_errors(Path(folder), f"write {content}"):
                    fill(Path(folder))
                return open_entry(Path(folder))
        entry = self._root / key
        if (opened := _opened(entry, open_entry)) is not None:
            return opened
        with _locked(entry):
            if (opened := _opened(entry, open_entry)) is not None:
                return opened
            shutil.rmtree(entry, ignore_errors=True)
            self._make_room(size)
            _check_space(self._root, size, content)
            partial = entry.with_name(entry.name + _PARTIAL)
            shutil.rmtree(partial, ignore_errors=True)
            # The disk can fill up while the entry is written.
            with storage_errors(self._root, f"write {content}"):
                partial.mkdir()
                try:
                    fill(partial)
                    partial.rename(entry)
                except BaseException:
                    shutil.rmtree(partial, ignore_errors=True)
                    raise
            return open_entry(entry)

    def bytes(self) -> int:
        """Return the size of the cache in bytes."""
        return sum(size for _, size, _ in self._entries())

    def clear(self) -> int:
        """Delete all entries, except those that are being written; return the number of bytes freed."""
        return sum(size for entry, size, _ in self._entries() if _removed(entry))

    def _make_room(self, size: int) -> None:
        """Remove leftovers of dead processes, and the least recently used entries beyond the limit."""
        entries = sorted(self._entries(), key=lambda item: item[2])
        total = size + sum(length for _, length, _ in entries)
        for entry, length, _ in entries:
            if (total > max_bytes() or entry.name.endswith(_PARTIAL)) and _removed(entry):
                total -= length

    def _entries(self) -> list[tuple[Path, int, float]]:
        """Return the entries with their sizes and the times of their last use."""
        found = []
        with suppress(OSError):
            for entry in self._root.iterdir():
                if entry.is_dir():
                    with suppress(OSError):
                        size = sum(file.stat().st_size for file in entry.iterdir())
                        found.append((entry, size, entry.stat().st_mtime))
        return found

    def _is_writable(self) -> bool:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError:
            return False
        return os.access(self._root, os.W_OK)


def sync_files(folder: Path) -> None:
    """Flush the files of an entry to disk."""
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


def _opened(entry: Path, open_entry: Callable[[Path], Entry]) -> Entry | None:
    """Open an entry and mark it as used; None if there is none, or it is damaged."""
    try:
        opened = open_entry(entry)
        os.utime(entry)
    except (OSError, ValueError):
        return None
    return opened


def _removed(entry: Path) -> bool:
    """Remove an entry, or what is left of one, unless a process is writing it."""
    lock = _lock_path(entry.with_name(entry.name.removesuffix(_PARTIAL)))
    with suppress(OSError), lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry, ignore_errors=True)
        lock.unlink(missing_ok=True)
        return True
    return False


@contextmanager
def _locked(entry: Path) -> Iterator[None]:
    """Wait for the lock on an entry."""
    lock = _lock_path(entry)
    while True:
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # The previous holder may have removed the file.
            if not lock.exists() or not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _lock_path(entry: Path) -> Path:
    return entry.with_name(entry.name + _LOCK)


def _check_space(folder: Path, size: int, content: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE_BYTES:
        expected = f"{(size + _SPARE_BYTES) / 1e9:.1f} GB of free disk space for {content}"
        fix = "set XDG_CACHE_HOME to a folder with more space, or lower data.image.size"
        raise StorageError(Problem(str(folder), expected, f"{free / 1e9:.1f} GB", fix))
