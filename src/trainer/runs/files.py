"""How a run directory is written: a file or a directory is there whole or not at all.

Every write goes to a temporary sibling, is flushed to the disk and then renamed, so that a process
killed at any moment leaves either the old or the new content. `OSError`s become `StorageError`s
that say what could not be written and what to do.

Owns: atomic replacement, the words for a disk that refuses, JSON as bytes. Does not own: which
files a run has (`directory`), what stands in them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from trainer.errors import Problem, RunError, StorageError


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a directory; a rename is then as safe as they are.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class FileSystem:
    """The operations that change a disk, each a step between which a process can die.

    Attributes:
        make_directory: Makes one directory, which must not exist.
        write: Writes a new file and flushes it to the disk.
        sync: Flushes a file or a directory to the disk.
        rename: Renames a file over another, or a directory to a free name, atomically.
        remove: Removes a file or a directory with all that is in it; nothing there is no error.
    """

    make_directory: Callable[[Path], None] = Path.mkdir
    write: Callable[[Path, bytes], None] = _write
    sync: Callable[[Path], None] = _sync
    rename: Callable[[Path, Path], None] = os.replace
    remove: Callable[[Path], None] = _remove


DISK = FileSystem()
"""The real one."""

_FIXES = {
    errno.ENOSPC: "free space on this disk (`df -h` shows it) and run the command again",
    errno.EDQUOT: "free some of your quota on this disk and run the command again",
    errno.EROFS: "this file system is read-only; remount it or choose another place for runs",
    errno.EACCES: "give yourself the right to write there (`ls -ld` shows who has it)",
    errno.EPERM: "give yourself the right to write there (`ls -ld` shows who has it)",
    errno.ENOENT: "it was removed or its disk went away while it was in use; start the run again",
    errno.ENOTDIR: "a file stands where a directory is needed; move it away",
    errno.EISDIR: "a directory stands where a file is needed; move it away",
    errno.ENAMETOOLONG: "choose a shorter place or `name`",
    errno.EIO: "the disk reported a fault; check it and choose another place",
    errno.ESTALE: "the network file system lost this place; mount it and run the command again",
}


def storage_problem(path: Path, action: str, error: OSError) -> Problem:
    """What a failure on `path` is called; `action` says what was tried ("write this file")."""
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    code = errno.errorcode.get(error.errno, "") if error.errno else ""
    return Problem(
        where=str(path),
        expected=f"to {action}",
        found=f"{reason} ({code})" if code else reason,
        fix=_FIXES.get(error.errno or 0, "check the place with `ls -ld` and `df -h`"),
    )


@contextmanager
def storage_errors(path: Path, action: str) -> Iterator[None]:
    """Turns an `OSError` inside the block into a `StorageError` about `path`."""
    try:
        yield
    except OSError as error:
        raise StorageError(storage_problem(path, action, error)) from error


def write_atomically(path: Path, content: bytes, disk: FileSystem = DISK) -> None:
    """Writes a file so that a reader sees the old content or the new one, never a part.

    Raises:
        StorageError: It could not be written; the old content is still there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    with storage_errors(path, "write this file"):
        try:
            disk.write(temporary, content)
            disk.rename(temporary, path)
            disk.sync(path.parent)
        except OSError:
            with suppress(OSError):
                disk.remove(temporary)
            raise


def replace_directory(path: Path, write: Callable[[Path], None], disk: FileSystem = DISK) -> None:
    """Replaces a directory by the one that `write` fills, so that one of both can always be read.

    The new one is written as `path.new`; then `path` becomes `path.old`, `path.new` becomes `path`,
    and `path.old` goes. `path.old` alone stands for `path` only between the two renames, and is
    whole then; `existing_directory` knows. `path.new` is never read.

    Raises:
        StorageError: It could not be written; the old one can still be read.
    """
    new, old = _sibling(path, "new"), _sibling(path, "old")
    with storage_errors(path, "write this directory"):
        if old.exists():
            if path.exists():
                disk.remove(old)
            else:
                disk.rename(old, path)
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
        if path.exists():
            disk.rename(path, old)
        disk.rename(new, path)
        disk.sync(path.parent)
        # A reader on a network file system can hold a file of the old one open, which then cannot
        # go yet; the next replacement takes it away.
        with suppress(OSError):
            disk.remove(old)


def _fill(new: Path, write: Callable[[Path], None]) -> None:
    try:
        write(new)
    except RuntimeError as error:
        # HDF5 tells of a full disk that it meets on closing by a RuntimeError with errno as text.
        text = str(error)
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            if f"errno = {number}," in text:
                raise OSError(number, os.strerror(number)) from error
        raise


def existing_directory(path: Path) -> Path | None:
    """Where the content of what `replace_directory` wrote is; None if it never did."""
    old = _sibling(path, "old")
    # Looked at twice: a replacement can end between the first look and the second.
    for place in (path, old, path):
        if place.is_dir():
            return place
    return None


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}")


def json_bytes(value: Any) -> bytes:
    """A value as readable JSON, equal for equal values: keys in their order, NaN and ±∞ as null."""
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=2)
    return _encoded(text) + b"\n"


def json_line(value: Any) -> bytes:
    """As `json_bytes`, on one line."""
    return _encoded(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)) + b"\n"


def _encoded(text: str) -> bytes:
    # A file name that is no text has lone surrogates in Python; JSON can hold them as escapes.
    return text.encode("utf-8", errors="backslashreplace")


def _plain(value: Any) -> Any:
    match value:
        case float():
            return float(value) if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case np.ndarray() | np.generic():
            return _plain(value.tolist())
        case datetime():
            return value.isoformat()
        case Path():
            return str(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no form in JSON")


def read_json(path: Path) -> Any:
    """The value in a JSON file of a run.

    Raises:
        RunError: It is missing or damaged.
    """
    content = read_bytes(path)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        found = f"damage ({error})" if content.strip() else "an empty file"
        raise RunError(
            Problem(
                where=str(path),
                expected="JSON as the trainer wrote it",
                found=found,
                fix="take the file from a copy of the run, or train it again with `trainer fit` on "
                "its config.yaml",
            )
        ) from error


def read_bytes(path: Path) -> bytes:
    """The content of a file of a run.

    Raises:
        RunError: It is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise RunError(
            Problem(
                where=str(path),
                expected="this file of the run",
                found="no such file",
                fix="the run ended before it was written, or it was removed; train it again with "
                "`trainer fit` on its config.yaml",
            )
        ) from error
    except OSError as error:
        raise RunError(storage_problem(path, "read this file", error)) from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
