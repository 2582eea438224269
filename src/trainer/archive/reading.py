"""Read an archive that may be damaged or hostile: every byte is checked before it is trusted.

The index names every file with its size and hash before the first of them. The files must follow in
this order, with these names and sizes, as regular files; anything else ends with an error. So an
archive cannot name a file outside the directory, contain a link or a device, or write more bytes than
it declares, and what it declares is compared with the free space first (`restoring`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

from trainer.archive.encryption import MAGIC, DecryptingReader, WrongKeyError
from trainer.archive.format import (
    END,
    FORMAT,
    INDEX,
    MAX_INDEX_BYTES,
    ArchivedFile,
    FormatError,
    Index,
    check_index,
    padding,
    read_exactly,
    read_member,
)
from trainer.archive.packages import check_packages
from trainer.errors import Problem, RunError, command_text, did_you_mean
from trainer.runs.files import storage_problem
from trainer.runs.readers import DamageError, short_repr
from trainer.runs.records import from_json

TRAILER_HEADER = b"\x50\x2a\x4d\x18" + (32).to_bytes(4, "little")
"""The beginning of a skippable Zstandard frame of 32 bytes."""

_TRAILER_BYTES = len(TRAILER_HEADER) + 32
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_MAX_WINDOW_BYTES = 1 << 27
_MAX_RATIO, _BOMB_BYTES = 1_000, 1 << 30
_COPY_BYTES = 1 << 20
_FIX = "restore it from a copy of the archive"


class NewFile(Protocol):
    """A file that is being written."""

    def write(self, data: bytes, /) -> object:
        """Append some bytes."""
        ...


class Files(Protocol):
    """What becomes of the files of an archive."""

    def begin(self, index: Index) -> None:
        """Prepare for the files of an index, which has been checked."""
        ...

    def create(self, file: ArchivedFile) -> AbstractContextManager[NewFile]:
        """Return a new file for the content of a file of the index."""
        ...


class DiscardedFiles:
    """Files whose content is only checked."""

    def begin(self, index: Index) -> None:
        """Do nothing."""

    def create(self, file: ArchivedFile) -> AbstractContextManager[NewFile]:
        """Return a file that discards its content."""
        return Path(os.devnull).open("wb")


def read_archive(path: Path, key: bytes | None, files: Files) -> Index:
    """Read an archive, and verify the hash of each of its files.

    Args:
        path: The archive.
        key: The key of an encrypted archive.
        files: Takes the files; it may raise its own errors.

    Returns:
        The index.

    Raises:
        RunError: The archive is missing, damaged or hostile, or the key is missing or wrong.
    """
    check_packages(encrypted=key is not None)
    from zstandard import ZstdDecompressor

    _check_file(path)
    with _damage(path), path.open("rb") as file:
        _check_kind(path, file, key)
        source = _VerifiedContent(file) if key is None else DecryptingReader(file, key)
        decompressor = ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        with decompressor.stream_reader(source, closefd=False) as stream:  # type: ignore[arg-type] # any `read`
            index = _read_index(stream)
            _check_ratio(index.bytes, os.fstat(file.fileno()).st_size)
            files.begin(index)
            for archived in index.files:
                read_member(stream, index.member_name(archived.path), archived.bytes)
                with files.create(archived) as out:
                    _copy(stream, archived, out)
                _read_padding(stream, archived.bytes)
            for folder in index.empty_directories:
                read_member(stream, index.member_name(folder), 0, is_directory=True)
            if read_exactly(stream, len(END)) != END or stream.read(1):
                raise FormatError("the end of the archive", "more content")
        if source.read(1):
            raise FormatError("the end of the archive", "more content")
    return index


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn errors in the content of the archive at `path` into `RunError`s about it."""
    from zstandard import ZstdError

    try:
        yield
    except WrongKeyError as error:
        expected, found = "an archive that was encrypted with this key", "another key"
        fix = "use the key file that it was encrypted with"
        raise RunError(Problem(str(path), expected, found, fix)) from error
    except FormatError as error:
        raise RunError(Problem(str(path), error.expected, error.found, _FIX)) from error
    except OSError as error:
        raise RunError(storage_problem(path, "read this file", error)) from error
    except (ZstdError, MemoryError) as error:
        expected = "an archive written by trainer"
        found = f"damaged compressed data ({str(error) or 'too large'})"
        raise RunError(Problem(str(path), expected, found, _FIX)) from error


def _check_file(path: Path) -> None:
    """Check that a path is a file.

    Raises:
        RunError: It is not.
    """
    if path.is_file():
        return
    expected = "a file written by trainer archive"
    if path.exists():
        found = "a directory" if path.is_dir() else "a pipe, a socket or a device"
        raise RunError(Problem(str(path), expected, found, "use the archive"))
    with suppress(OSError):
        names = sorted(entry.name for entry in path.parent.iterdir())
        fix = did_you_mean(path.name, names, "check the path")
        raise RunError(Problem(str(path), expected, "no such file", fix))
    raise RunError(Problem(str(path), expected, "no such directory", "check the path"))


def _check_kind(path: Path, file: IO[bytes], key: bytes | None) -> None:
    """Check that a file is an archive, encrypted if and only if there is a key.

    Raises:
        RunError: It is not.
    """
    magic = file.read(len(MAGIC))
    file.seek(0)
    if magic == MAGIC:
        if key is None:
            fix = f"give its key file: {command_text('restore', path, '--key', 'KEYFILE')}"
            raise RunError(Problem(str(path), "a key for an encrypted archive", "none", fix))
        return
    if not magic.startswith(_ZSTANDARD):
        found = "an empty file" if not magic else f"a file that begins with {short_repr(magic)}"
        fix = "write one with: trainer archive RUN -o FILE.tar.zst"
        raise RunError(Problem(str(path), "a file written by trainer archive", found, fix))
    if key is not None:
        # Whoever replaced an encrypted archive with another one must not be believed.
        fix = "restore it without --key only if you trust its origin"
        raise RunError(
            Problem(
                str(path), "an encrypted archive, as there is a key", "one without encryption", fix
            )
        )


class _VerifiedContent:
    """The compressed part of a file whose last bytes are the hash of all others.

    Raises:
        FormatError: They are not: the file was changed or cut off.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = os.fstat(file.fileno()).st_size - _TRAILER_BYTES
        digest = hashlib.sha256()
        while part := self._file.read(min(_COPY_BYTES, max(0, self._left - file.tell()))):
            digest.update(part)
        if file.read() != TRAILER_HEADER + digest.digest():
            raise FormatError(
                "an archive that ends with the SHA-256 of its content",
                "one that was changed or cut off",
            )
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes; none at the end."""
        size = self._left if size < 0 else min(size, self._left)
        part = self._file.read(size)
        self._left -= len(part)
        return part


def _check_ratio(declared: int, size: int) -> None:
    """Check that an archive does not declare more bytes than files of runs can be compressed to.

    Raises:
        FormatError: It does.
    """
    if declared > max(_BOMB_BYTES, _MAX_RATIO * size):
        expected = f"at most {_MAX_RATIO:,} times the size of the archive, {size:,} bytes"
        raise FormatError(expected, f"{declared:,} bytes of files")


def _read_index(stream: IO[bytes]) -> Index:
    size = read_member(stream, INDEX)
    if size > MAX_INDEX_BYTES:
        raise FormatError(f"at most {MAX_INDEX_BYTES:,} bytes of '{INDEX}'", f"{size:,}")
    content = read_exactly(stream, size)
    _read_padding(stream, size)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"JSON in '{INDEX}'", str(error)) from error
    if isinstance(value, dict) and "format" in value and value["format"] != FORMAT:
        raise FormatError(f"an archive of format {FORMAT}", f"format {short_repr(value['format'])}")
    try:
        index = from_json(Index, value)
    except DamageError as error:
        raise FormatError(f"{error.expected} in '{INDEX}'", error.found) from error
    check_index(index)
    return index


def _read_padding(stream: IO[bytes], size: int) -> None:
    zeros = padding(size)
    if read_exactly(stream, len(zeros)) != zeros:
        raise FormatError("zeros between the files of the archive", "other bytes")


def _copy(stream: IO[bytes], archived: ArchivedFile, out: NewFile) -> None:
    digest, left = hashlib.sha256(), archived.bytes
    while left:
        part = read_exactly(stream, min(left, _COPY_BYTES))
        digest.update(part)
        out.write(part)
        left -= len(part)
    if digest.hexdigest() != archived.sha256:
        raise FormatError(
            f"content of '{archived.path}' with SHA-256 {archived.sha256[:12]}…", "other content"
        )
