"""How a run directory is written: a file or a directory is there whole or not at all.

Every write goes to a temporary sibling, is flushed to the disk and then renamed, so that a process
killed at any moment leaves either the old or the new content. `OSError`s become `StorageError`s
that say what could not be written and what to do. Which files a run has is up to `directory`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count, takewhile
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
    errno.ENOSPC: "free space there (`df -h` shows it), then resume the run or run the command again",
    errno.EDQUOT: "free some of your quota there, then resume the run or run the command again",
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


def remove_temporaries(directory: Path) -> None:
    """Removes what processes that died in `write_atomically` left; what cannot go stays."""
    for path in directory.glob(".*.new"):
        if re.fullmatch(r"\..+\.[0-9a-f]{8}\.new", path.name):
            with suppress(OSError):
                path.unlink()


def replace_directory(
    path: Path, write: Callable[[Path], None], disk: FileSystem = DISK, keep: int = 1
) -> None:
    """Puts the directory that `write` fills in the place of `path`, and keeps the former ones.

    The new one is written as `path.new`. Then each former one moves up by a number, `path` becomes
    `path-1`, `path.new` becomes `path`, and what is numbered `keep` or more goes. So the names in
    their order hold whole directories, the newest first, at every moment; there can be a gap, and
    one at `path` lasts between the two last renames only. `path.new` is never read.

    Args:
        path: The directory.
        write: Fills the directory that it is given, which is empty.
        disk: What it is written with.
        keep: How many there are at most in the end, the new one included.

    Raises:
        StorageError: It could not be written; the old ones can still be read.
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
        # Up to the first gap, the oldest first: no rename meets a directory that is in its way.
        gap = next(number for number in count() if not _numbered(path, number).exists())
        for number in range(gap, 0, -1):
            disk.rename(_numbered(path, number - 1), _numbered(path, number))
        disk.rename(new, path)
        disk.sync(path.parent)
        # A reader on a network file system can hold a file of an old one open, which then cannot
        # go yet; the next replacement takes it away.
        with suppress(OSError):
            _remove_former(path, keep, disk)


def remove_leftovers(path: Path, disk: FileSystem = DISK, keep: int = 1) -> None:
    """Removes what a process that died in `replace_directory` left behind; what cannot go stays."""
    with suppress(OSError):
        disk.remove(_unfinished(path))
        if path.is_dir():
            _remove_former(path, keep, disk)


def remove_directories(path: Path, disk: FileSystem = DISK) -> None:
    """Removes a directory and the former ones that `replace_directory` kept, as far as they can go."""
    with suppress(OSError):
        for place in (path, _unfinished(path), *former_directories(path)):
            disk.remove(place)


def _remove_former(path: Path, keep: int, disk: FileSystem) -> None:
    # Not past a gap: what has a far number is somebody's copy. The oldest first, so that a process
    # that dies leaves no gap.
    numbers = takewhile(lambda number: _numbered(path, number).exists(), count(keep))
    for number in reversed(list(numbers)):
        disk.remove(_numbered(path, number))


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
    """Where the content of what `replace_directory` wrote is; None if it never did.

    That is `path`, or the next number while `path` is being replaced.
    """
    # Looked at twice: a replacement can end between the first look and the second.
    for place in (path, _next(path), path):
        if place.is_dir():
            return place
    return None


def former_directories(path: Path) -> list[Path]:
    """The former ones of what `replace_directory` wrote, `path-1`, `path-2`, …, that there are."""
    try:
        names = [entry.name for entry in os.scandir(path.parent) if entry.is_dir()]
    except OSError:
        return []
    numbers = sorted(
        int(found[1])
        for name in names
        if (found := re.fullmatch(rf"{re.escape(path.name)}-([1-9][0-9]{{0,8}})", name))
    )
    return [_numbered(path, number) for number in numbers]


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}-{number}") if number else path


def _next(path: Path) -> Path:
    found = re.fullmatch(r"(.+)-([1-9][0-9]{0,8})", path.name)
    if found is None:
        return _numbered(path, 1)
    return _numbered(path.with_name(found[1]), int(found[2]) + 1)


def json_bytes(value: Any) -> bytes:
    """A value as readable JSON, equal for equal values: keys in their order, NaN and ±∞ as null."""
    text = json.dumps(json_form(value), ensure_ascii=False, allow_nan=False, indent=2)
    return _encoded(text) + b"\n"


def json_line(value: Any) -> bytes:
    """As `json_bytes`, on one line."""
    return _encoded(json.dumps(json_form(value), ensure_ascii=False, allow_nan=False)) + b"\n"


def _encoded(text: str) -> bytes:
    # A file name that is no text has lone surrogates in Python; JSON can hold them as escapes.
    return text.encode("utf-8", errors="backslashreplace")


def json_form(value: Any) -> Any:
    """A value as JSON has it, of dicts, lists and scalars: times in ISO 8601, NaN and ±∞ as None."""
    match value:
        case float():
            return float(value) if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case Mapping():
            return {str(key): json_form(item) for key, item in value.items()}
        case list() | tuple():
            return [json_form(item) for item in value]
        case np.ndarray() | np.generic():
            return json_form(value.tolist())
        case datetime():
            return value.isoformat()
        case Path():
            return str(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no form in JSON")


def read_json(path: Path, most: int = 1 << 28) -> Any:
    """The value in a JSON file of a run.

    Raises:
        RunError: It is missing, damaged or longer than `most` bytes.
    """
    return json_value(read_bytes(path, most), path)


def json_value(content: bytes, path: Path) -> Any:
    """The value in JSON that was read from `path`.

    Raises:
        RunError: It is damaged.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError, MemoryError) as error:
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


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The content of a file of a run.

    Raises:
        RunError: It is missing, cannot be read, is longer than `most` bytes, or is no file of the
            directory it stands in.
    """
    with reading(path):
        size = path.stat().st_size
        if most is not None and size > most:
            raise RunError(
                Problem(
                    where=str(path),
                    expected=f"at most {most} bytes",
                    found=f"{size} bytes, which the trainer did not write",
                    fix="take the file from a copy of the run",
                )
            )
        return path.read_bytes()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Says what hinders a reader of a file of a run inside the block.

    Raises:
        RunError: It is missing or cannot be read, or it is a link that leads out of the directory
            it stands in, or no file at all (a pipe would hold the reader up for ever).
    """
    try:
        mode = path.stat().st_mode
        if path.is_symlink() and path.resolve().parent != path.parent.resolve():
            raise RunError(_foreign(path, f"a link to {path.readlink()}"))
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise RunError(_foreign(path, "a pipe, a socket or a device"))
        yield
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
    except MemoryError as error:
        raise RunError(
            Problem(
                where=str(path),
                expected="a file that fits into memory",
                found="a larger one",
                fix="take the file from a copy of the run, or read it on a larger machine",
            )
        ) from error


def _foreign(path: Path, found: str) -> Problem:
    return Problem(
        where=str(path),
        expected="a file of its own, as the trainer wrote it",
        found=found,
        fix="put the file itself there, from a copy of the run",
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
