"""Directories that are replaced as a whole, and the previous versions of them that are kept."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import count, takewhile
from pathlib import Path

from trainer.runs.files import DISK, FileSystem, storage_errors


def replace_directory(
    path: Path, write: Callable[[Path], None], disk: FileSystem = DISK, keep: int = 1
) -> None:
    """Replace the directory `path` with a new one filled by `write`, and keep previous versions.

    The new directory is written as `path.new`. Then each previous one moves up by one number, `path`
    becomes `path-1`, `path.new` becomes `path`, and directories numbered `keep` or more are removed.
    So the existing names, in numerical order, always hold complete directories, newest first. There can
    be a gap; a gap at `path` exists only between the last two renames. `path.new` is never read.

    Args:
        path: The directory.
        write: Fills the empty directory that it is given.
        disk: The file system operations to use.
        keep: Maximum number of directories to keep, including the new one.

    Raises:
        StorageError: The directory could not be written; the old ones remain readable.
    """
    new = _unfinished(path)
    with storage_errors(path, "write this directory"):
        disk.remove(new)
        disk.make_directory(new)
        try:
            _fill(new, write)
        except BaseException:
            with suppress(OSError):
                disk.remove(new)
            raise
        for file in sorted(new.rglob("*")):
            disk.sync(file)
        disk.sync(new)
        # Up to the first gap, oldest first: every rename has an unused target.
        gap = next(number for number in count() if not _numbered(path, number).exists())
        for number in range(gap, 0, -1):
            disk.rename(_numbered(path, number - 1), _numbered(path, number))
        disk.rename(new, path)
        disk.sync(path.parent)
        # On a network file system, a reader can keep a file of an old directory open, which then
        # cannot be removed; the next replacement removes it.
        with suppress(OSError):
            _remove_previous(path, keep, disk)


def remove_leftovers(path: Path, disk: FileSystem = DISK, keep: int = 1) -> None:
    """Remove what a process that died in `replace_directory` left behind, ignoring errors."""
    with suppress(OSError):
        disk.remove(_unfinished(path))
        if path.is_dir():
            _remove_previous(path, keep, disk)


def remove_with_previous(path: Path, disk: FileSystem = DISK) -> None:
    """Remove a directory and the previous versions of it, ignoring errors."""
    with suppress(OSError):
        for location in (path, _unfinished(path), *previous_directories(path)):
            disk.remove(location)


def _remove_previous(path: Path, keep: int, disk: FileSystem) -> None:
    # Not past a gap: a directory with a higher number is a user's copy. Oldest first, so that a
    # process that dies leaves no gap.
    numbers = takewhile(lambda number: _numbered(path, number).exists(), count(keep))
    for number in reversed(list(numbers)):
        disk.remove(_numbered(path, number))


def _fill(new: Path, write: Callable[[Path], None]) -> None:
    try:
        write(new)
    except RuntimeError as error:
        # If the disk is full when a file is closed, HDF5 raises a RuntimeError with errno in its text.
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            if f"errno = {number}," in str(error):
                raise OSError(number, os.strerror(number)) from error
        raise


def existing_directory(path: Path) -> Path | None:
    """Return where the newest version of a `replace_directory` path is; None if never written.

    This is `path`, or the next number while `path` is being replaced.
    """
    # `path` is checked twice: a replacement can end between the first check and the second.
    for location in (path, _next(path), path):
        if location.is_dir():
            return location
    return None


def previous_directories(path: Path) -> list[Path]:
    """Return the existing previous versions of a `replace_directory` path: `path-1`, `path-2`, …"""
    try:
        names = [entry.name for entry in os.scandir(path.parent) if entry.is_dir()]
    except OSError:
        return []
    numbers = sorted(
        int(match[1])
        for name in names
        if (match := re.fullmatch(rf"{re.escape(path.name)}-([1-9][0-9]{{0,8}})", name))
    )
    return [_numbered(path, number) for number in numbers]


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}-{number}") if number else path


def _next(path: Path) -> Path:
    match = re.fullmatch(r"(.+)-([1-9][0-9]{0,8})", path.name)
    if match is None:
        return _numbered(path, 1)
    return _numbered(path.with_name(match[1]), int(match[2]) + 1)
