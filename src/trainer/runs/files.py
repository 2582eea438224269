"""Atomic writes of files, and reading files back with clear errors.

Every write goes to a temporary sibling, is flushed to disk and then renamed, so that a process killed
at any moment leaves either the old or the new content. Each `OSError` becomes a `StorageError` that
names the path and the fix.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shlex
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np

from trainer.errors import Problem, RunError, StorageError

Content = bytes | Callable[[IO[bytes]], object]  # a function that writes to a seekable file


def _write(path: Path, content: Content) -> None:
    with path.open("wb") as file:
        _ = content(file) if callable(content) else file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a directory; the rename is then as safe as it gets.
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
    """The operations that change a disk; tests kill the process between any two of them.

    Attributes:
        make_directory: Creates one directory, which must not exist.
        write: Writes a new file and flushes it to disk.
        sync: Flushes a file or a directory to disk.
        rename: Renames a file over another, or a directory to an unused name, atomically.
        remove: Removes a file, or a directory with its content; ignores a missing path.
    """

    make_directory: Callable[[Path], None] = Path.mkdir
    write: Callable[[Path, Content], None] = _write
    sync: Callable[[Path], None] = _sync
    rename: Callable[[Path, Path], None] = os.replace
    remove: Callable[[Path], None] = _remove


DISK = FileSystem()
"""The real file system."""

_FIXES = {
    errno.ENOSPC: "free up space there (`df -h` shows it), then resume the run or run the command again",
    errno.EDQUOT: "free up some of your quota there, then resume the run or run the command again",
    errno.EROFS: "this file system is read-only; remount it or choose another folder",
    errno.EACCES: "give yourself write permission there (`ls -ld` shows the owner)",
    errno.EPERM: "give yourself write permission there (`ls -ld` shows the owner)",
    errno.ENOENT: "it was deleted or its disk was unmounted during use; start the run again",
    errno.ENOTDIR: "move the file that has the same name as a directory in this path",
    errno.EISDIR: "move the directory that has the same name as this file",
    errno.ENAMETOOLONG: "choose a shorter path or `name`",
    errno.EIO: "the disk reported an I/O error; check it and choose another folder",
    errno.ESTALE: "the network file system lost this path; remount it and run the command again",
}


def storage_problem(path: Path, action: str, error: OSError) -> Problem:
    """Describe a failure on `path`; `action` is what was attempted ("write this file")."""
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    code = errno.errorcode.get(error.errno, "") if error.errno else ""
    return Problem(
        where=str(path),
        expected=f"to {action}",
        found=f"{reason} ({code})" if code else reason,
        fix=_FIXES.get(error.errno or 0, "check the path with `ls -ld` and `df -h`"),
    )


@contextmanager
def storage_errors(path: Path, action: str) -> Iterator[None]:
    """Turn an `OSError` inside the block into a `StorageError` about `path`."""
    try:
        yield
    except OSError as error:
        raise StorageError(storage_problem(path, action, error)) from error


def parent_problem(where: str, path: Path) -> Problem | None:
    """Return the problem if the directory that a file is to be written to does not exist, else None."""
    parents = (path.parent, *path.parent.parents)
    nearest = next((parent for parent in parents if parent.exists()), Path())
    if nearest == path.parent and nearest.is_dir():
        return None
    expected = "a file in an existing directory"
    if not nearest.is_dir():
        return Problem(where, expected, f"the file {nearest} in its place", "choose another path")
    fix = f"mkdir -p {shlex.quote(str(path.parent))}"
    return Problem(where, expected, f"no directory {path.parent}", fix)


def write_atomically(path: Path, content: bytes, disk: FileSystem = DISK) -> None:
    """Write a file so that readers see either the old content or all of the new content.

    Raises:
        StorageError: The file could not be written; the old content is unchanged.
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


def is_temporary_name(name: str) -> bool:
    """Return whether a file has a name of the temporary files of `write_atomically`."""
    return re.fullmatch(r"\..+\.[0-9a-f]{8}\.new", name) is not None


def remove_temporary_files(directory: Path) -> None:
    """Remove temporary files of processes that died in `write_atomically`, ignoring errors."""
    for path in directory.glob(".*.new"):
        if is_temporary_name(path.name):
            with suppress(OSError):
                path.unlink()


def json_bytes(value: Any) -> bytes:
    """Serialize as indented JSON, deterministically: keys in insertion order, NaN and ±∞ as null."""
    return _encoded(json.dumps(to_jsonable(value), ensure_ascii=False, allow_nan=False, indent=2))


def json_line(value: Any) -> bytes:
    """Serialize a value like `json_bytes`, on one line."""
    return _encoded(json.dumps(to_jsonable(value), ensure_ascii=False, allow_nan=False))


def _encoded(text: str) -> bytes:
    # File names that are not valid text have lone surrogates in Python; JSON can escape them.
    return text.encode("utf-8", errors="backslashreplace") + b"\n"


def to_jsonable(value: Any) -> Any:
    """Convert a value to dicts, lists and scalars: times in ISO 8601, NaN and ±∞ as None."""
    match value:
        case float():
            return float(value) if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case Mapping():
            return {str(key): to_jsonable(item) for key, item in value.items()}
        case list() | tuple():
            return [to_jsonable(item) for item in value]
        case np.ndarray() | np.generic():
            return to_jsonable(value.tolist())
        case datetime():
            return value.isoformat()
        case Path():
            return str(value)
        case _:
            raise TypeError(f"{type(value).__name__} cannot be converted to JSON")


def read_json(path: Path, max_bytes: int = 1 << 28) -> Any:
    """Read a JSON file of a run.

    Raises:
        RunError: The file is missing, damaged or larger than `max_bytes`.
    """
    return parse_json(read_bytes(path, max_bytes), path)


def parse_json(content: bytes, path: Path) -> Any:
    """Parse JSON that was read from `path`.

    Raises:
        RunError: The content is damaged.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError, MemoryError) as error:
        found = f"damaged JSON ({error})" if content.strip() else "an empty file"
        raise RunError(
            Problem(
                where=str(path),
                expected="JSON written by trainer",
                found=found,
                fix="restore the file from a copy of the run, or repeat the run with `trainer fit` "
                "on its config.yaml",
            )
        ) from error


def read_bytes(path: Path, max_bytes: int | None = None) -> bytes:
    """Read a file of a run.

    Raises:
        RunError: The file is missing, unreadable, larger than `max_bytes`, not a regular file, or a
            symbolic link that points outside its directory.
    """
    with read_errors(path):
        size = path.stat().st_size
        if max_bytes is not None and size > max_bytes:
            raise RunError(
                Problem(
                    where=str(path),
                    expected=f"at most {max_bytes} bytes",
                    found=f"{size} bytes; trainer never writes a file this large here",
                    fix="restore the file from a copy of the run",
                )
            )
        return path.read_bytes()


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn errors while reading a file of a run inside the block into `RunError`s.

    Raises:
        RunError: The file is missing or unreadable, is a symbolic link that points outside its
            directory, or is not a regular file (a pipe would block the reader forever).
    """
    try:
        mode = path.stat().st_mode
        if path.is_symlink() and path.resolve().parent != path.parent.resolve():
            raise RunError(_not_regular(path, f"a link to {path.readlink()}"))
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise RunError(_not_regular(path, "a pipe, a socket or a device"))
        yield
    except FileNotFoundError as error:
        raise RunError(
            Problem(
                where=str(path),
                expected="a file of the run",
                found="no such file",
                fix="the run ended before writing it, or it was deleted; repeat the run with "
                "`trainer fit` on its config.yaml",
            )
        ) from error
    except OSError as error:
        raise RunError(storage_problem(path, "read this file", error)) from error
    except MemoryError as error:
        raise RunError(
            Problem(
                where=str(path),
                expected="a file that fits in memory",
                found="a larger one",
                fix="restore the file from a copy of the run, or use a machine with more memory",
            )
        ) from error


def _not_regular(path: Path, found: str) -> Problem:
    return Problem(
        where=str(path),
        expected="a regular file, as written by trainer",
        found=found,
        fix="replace it with the file itself, from a copy of the run",
    )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
