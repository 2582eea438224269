"""Temporary arrays on disk that need no cleanup.

A file is created without a name (or unlinked immediately), so that the operating system frees its space
when the process ends, even if it is killed. It is in TMPDIR, or in /var/tmp, which unlike /tmp is never
in memory.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.arrays import RowIndex
from trainer.errors import Problem, StorageError
from trainer.inputs import InputArray

_SPARE_BYTES = 1 << 28
_READ_BYTES = 1 << 26


def scratch_folder() -> Path:
    """Return the folder for large temporary files."""
    persistent = Path("/var/tmp")
    if "TMPDIR" not in os.environ and persistent.is_dir() and os.access(persistent, os.W_OK):
        return persistent
    return Path(tempfile.gettempdir())


def check_free_space(size: int) -> None:
    """Check that there is free space for a number of bytes and a reserve.

    Raises:
        StorageError: If there is not.
    """
    folder = scratch_folder()
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE_BYTES:
        raise StorageError(
            Problem(
                str(folder),
                f"{(size + _SPARE_BYTES) / 1e9:.1f} GB of free disk space for the encoded rows",
                f"{free / 1e9:.1f} GB",
                "set TMPDIR to a folder with more free space, or exclude columns",
            )
        )


class ScratchArray:
    """An array of known shape and dtype, written row after row, then read."""

    def __init__(self, rows: int, shape: tuple[int, ...], dtype: str = "float32") -> None:
        self._shape, self._dtype = (rows, *shape), dtype
        self._folder = scratch_folder()
        # Stays open as long as the array exists.
        self._file: IO[Any] = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115

    def append(self, rows: NDArray[Any]) -> None:
        """Append rows, (n, *shape).

        Raises:
            StorageError: If the disk is full or fails.
        """
        try:
            if rows.size:
                self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).data)
            self._file.flush()
        except OSError as error:
            fix = "set TMPDIR to a folder with more free space"
            found = error.strerror or str(error)
            expected = "a folder to which the encoded rows can be written"
            raise StorageError(Problem(str(self._folder), expected, found, fix)) from error

    def mapped(self) -> NDArray[Any]:
        """Return all rows, (rows, *shape), memory-mapped and read-only."""
        if prod(self._shape) == 0:
            return np.zeros(self._shape, self._dtype)
        array: NDArray[Any] = np.memmap(self._file, self._dtype, mode="r", shape=self._shape)
        return array


def release_pages(array: InputArray) -> None:
    """Release the pages of a memory-mapped array, or of a view of one, from this process; they are read
    again on access.
    """
    mapped = _mapped_memory(array)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def select_rows(array: NDArray[Any], rows: RowIndex) -> NDArray[Any]:
    """Return some rows, given by ascending numbers; the pages of a memory-mapped array are released as
    they are read.
    """
    if _mapped_memory(array) is None:
        return array[rows]
    gathered = np.empty((len(rows), *array.shape[1:]), array.dtype)
    step = max(1, _READ_BYTES // max(1, prod(array.shape[1:]) * array.dtype.itemsize))
    for start in range(0, len(array), step):
        first, last = np.searchsorted(rows, (start, start + step))
        gathered[first:last] = array[rows[first:last]]
        release_pages(array)
    return gathered


def _mapped_memory(array: InputArray) -> mmap.mmap | None:
    base: object = getattr(array, "base", None)
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
