"""Arrays on disk that nobody has to clean up.

A file is made without a name (or loses it at once), so that the system takes its room back when the
process ends, however it ends. It lies in TMPDIR, else in /var/tmp, which unlike /tmp is never memory.

Owns: room, files, arrays. Does not own: what is in them.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from trainer.data.arrays import Float32Array
from trainer.errors import Problem, StorageError

_SPARE_BYTES = 1 << 28


def scratch_folder() -> Path:
    """Where large files that live as long as the process are kept."""
    lasting = Path("/var/tmp")
    if "TMPDIR" not in os.environ and lasting.is_dir() and os.access(lasting, os.W_OK):
        return lasting
    return Path(tempfile.gettempdir())


def check_free_space(wanted: int) -> None:
    """There is room for so many bytes, and some more.

    Raises:
        StorageError: There is not.
    """
    folder = scratch_folder()
    free = shutil.disk_usage(folder).free
    if free < wanted + _SPARE_BYTES:
        raise StorageError(
            Problem(
                str(folder),
                f"{(wanted + _SPARE_BYTES) / 1e9:.1f} GB of free disk space for the encoded rows",
                f"{free / 1e9:.1f} GB",
                "set TMPDIR to a folder with more room, or leave columns out",
            )
        )


class ScratchArray:
    """A float32 array of known shape, written row after row, then read."""

    def __init__(self, rows: int, width: int) -> None:
        self._shape = (rows, width)
        self._folder = scratch_folder()
        # Open for as long as the array is there.
        self._file: IO[Any] = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115

    def append(self, rows: Float32Array) -> None:
        """Write further rows, shape (n, width).

        Raises:
            StorageError: The disk is full, or fails.
        """
        try:
            if rows.size:
                self._file.write(np.ascontiguousarray(rows, dtype=np.float32).data)
            self._file.flush()
        except OSError as error:
            fix = "set TMPDIR to a folder with more room"
            found = error.strerror or str(error)
            expected = "a folder the encoded rows can be written to"
            raise StorageError(Problem(str(self._folder), expected, found, fix)) from error

    def mapped(self) -> Float32Array:
        """All rows, shape (rows, width), in memory only while they are looked at; read-only."""
        if self._shape[0] * self._shape[1] == 0:
            return np.zeros(self._shape, dtype=np.float32)
        found: Float32Array = np.memmap(self._file, np.float32, mode="r", shape=self._shape)
        return found


def release_pages(array: np.ndarray[Any, Any]) -> None:
    """Take the pages of a mapped array out of this process; they are read again when looked at."""
    base: object = array.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
