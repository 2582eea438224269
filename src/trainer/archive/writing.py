"""Write the archive of a run or sweep: a directory → one file, read back before it gets its name."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Protocol

from trainer.archive.encryption import EncryptingWriter
from trainer.archive.format import (
    END,
    FORMAT,
    INDEX,
    ArchivedFile,
    Index,
    check_recorded_hashes,
    member_header,
    padding,
)
from trainer.archive.packages import check_packages
from trainer.archive.reading import TRAILER_HEADER, DiscardedFiles, read_archive
from trainer.errors import Problem, RunError, pluralize
from trainer.runs.directory import RunDirectory
from trainer.runs.files import (
    DISK,
    is_temporary_name,
    json_bytes,
    read_errors,
    sha256_of,
    storage_errors,
)
from trainer.runs.lock import RunLock, lock_state
from trainer.runs.opening import open_run
from trainer.runs.records import to_json
from trainer.runs.sweeps import sweep_at
from trainer.runs.temporary import temporary_sibling

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LEVEL = 3
"""Compression level; weights, most of the bytes, hardly get smaller with a higher one."""

_COPY_BYTES = 1 << 20
_LOCK = "lock"
_UNKNOWN_TIME = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True)
class WrittenArchive:
    """An archive that was written.

    Attributes:
        path: The archive.
        source: The archived directory.
        files: Number of files.
        bytes: Their size.
        archive_bytes: Size of the archive.
        sha256: SHA-256 of the archive, in hexadecimal.
    """

    path: Path
    source: Path
    files: int
    bytes: int
    archive_bytes: int
    sha256: str


def write_archive(source: Path, path: Path, key: bytes | None = None) -> WrittenArchive:
    """Archive a run or sweep, verified by hashes when its files are read and when the archive is.

    Args:
        source: The directory of a run or a sweep.
        path: The archive, which must not exist.
        key: 32 bytes to encrypt it with.

    Raises:
        RunError: There is no such run, a process is writing it, a file of it is damaged or changes
            meanwhile, or `path` exists or is in the run.
        StorageError: The archive cannot be written.
    """
    check_packages(encrypted=key is not None)
    root, kind = _opened(source)
    _check_target(path, root)
    with _locked(root):
        index = _index(root, kind)
        is_private = not index.mode & (stat.S_IRWXG | stat.S_IRWXO)
        create = partial(_create, mode=0o600 if is_private else 0o666)
        with storage_errors(path, "write this file"), temporary_sibling(path, create) as temporary:
            _write(root, index, temporary, key)
            if read_archive(temporary, key, DiscardedFiles()) != index:
                raise RunError(Problem(str(path), "the archive that was written", "other content"))
            written = WrittenArchive(
                path=path,
                source=root,
                files=len(index.files),
                bytes=index.bytes,
                archive_bytes=temporary.stat().st_size,
                sha256=sha256_of(temporary),
            )
            _check_target(path, root)
            DISK.rename(temporary, path)
            DISK.sync(path.parent)
    return written


def _opened(source: Path) -> tuple[Path, Literal["run", "sweep"]]:
    sweep = sweep_at(source)
    if sweep is not None:
        return sweep.path, "sweep"
    opened = open_run(source)
    if opened.checkpoint is not None:
        expected, found = "a run or a sweep", f"its checkpoint '{opened.checkpoint}'"
        raise RunError(Problem(str(source), expected, found, f"archive {opened.run.path}"))
    return opened.run.path, "run"


def _check_target(path: Path, root: Path) -> None:
    """Check the path of an archive.

    Raises:
        RunError: It exists, or is in the archived directory.
    """
    if os.path.lexists(path):
        expected, fix = "a path that does not exist yet", "choose another name, or remove it"
        raise RunError(Problem(str(path), expected, "an existing file or directory", fix))
    if path.parent.resolve().is_relative_to(root.resolve()):
        fix = "choose another directory"
        raise RunError(Problem(str(path), f"a file outside {root}", "one in it", fix))


def _create(path: Path, mode: int) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode))


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Context manager that keeps other processes from writing the directory.

    Raises:
        RunError: Another process is writing it, a part of it or what it is a part of.
    """
    is_writable = os.access(root, os.W_OK)
    # In a directory without write permission, a lock can neither be taken nor is it needed.
    with RunLock(root / _LOCK) if is_writable else nullcontext():
        locks = [path for path in root.rglob(_LOCK) if path.parent != root or not is_writable]
        if root.absolute().parent.name in ("members", "trials"):
            locks.append(root.absolute().parent.parent / _LOCK)
        busy = [path for path in locks if lock_state(path) == "alive"]
        if busy:
            fix = "wait for it to end, or stop it"
            raise RunError(
                Problem(str(path.parent), "a run that no process is writing", "one that does", fix)
                for path in busy
            )
        yield


def _index(root: Path, kind: Literal["run", "sweep"]) -> Index:
    """Return the index of a directory.

    Raises:
        RunError: A file is damaged, is not a regular file, or has a name that is not UTF-8.
    """
    paths, empty = _scan(root)
    files = []
    for path in paths:
        with read_errors(root / path):
            file = root / path
            files.append(ArchivedFile(path, file.stat().st_size, sha256_of(file)))
    check_recorded_hashes(root, files)
    absolute = root.absolute()
    name, modified = absolute.parent.name, _UNKNOWN_TIME
    try:
        manifest = RunDirectory(root).read_manifest()
        name, modified = manifest.name, int(manifest.started.timestamp())
    except RunError:
        # A sweep, or a run that was killed early: the folder has the name of the experiment.
        pass
    return Index(
        format=FORMAT,
        kind=kind,
        name=name,
        directory=absolute.name,
        mode=stat.S_IMODE(root.stat().st_mode) & 0o777,
        modified=modified,
        files=tuple(files),
        empty_directories=tuple(empty),
    )


def _scan(root: Path) -> tuple[list[str], list[str]]:
    """Return the files and the empty directories, sorted, without locks and temporary files."""
    files: list[str] = []
    empty: list[str] = []
    problems: list[Problem] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        with read_errors(root / folder), os.scandir(root / folder) as entries:
            kept = [entry for entry in entries if not _is_temporary(entry)]
        if not kept and folder:
            empty.append(folder)
        for entry in kept:
            path = f"{folder}/{entry.name}" if folder else entry.name
            problem = _entry_problem(root / path, entry)
            if problem is not None:
                problems.append(problem)
            elif entry.is_dir(follow_symlinks=False):
                pending.append(path)
            else:
                files.append(path)
    if problems:
        raise RunError(problems)
    return sorted(files), sorted(empty)


def _is_temporary(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a lock, or was left behind by a killed process."""
    if entry.is_dir(follow_symlinks=False):
        return entry.name.endswith(".new")
    return entry.name == _LOCK or is_temporary_name(entry.name)


def _entry_problem(path: Path, entry: os.DirEntry[str]) -> Problem | None:
    where, expected = str(path), "a regular file or a directory"
    if entry.is_symlink():
        fix = "replace the link with its target"
        return Problem(where, expected, f"a link to {path.readlink()}", fix)
    if not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
        return Problem(where, expected, "a pipe, a socket or a device", "remove it")
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return Problem(repr(where), "a name in UTF-8", "other bytes", "rename it")
    return None


class _Sink(Protocol):
    """Where the compressed bytes are written."""

    def write(self, data: bytes, /) -> int: ...

    def finish(self) -> None: ...


class _HashingWriter:
    """Writes a file that ends with the SHA-256 of all bytes before."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, data: ReadableBuffer) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def finish(self) -> None:
        self._file.write(TRAILER_HEADER + self._digest.digest())


def _write(root: Path, index: Index, path: Path, key: bytes | None) -> None:
    """Write an archive of a directory that has not changed since its index was made.

    Raises:
        RunError: It has changed.
        OSError: The archive cannot be written.
    """
    from zstandard import ZstdCompressor

    with path.open("r+b") as file:
        sink: _Sink = _HashingWriter(file) if key is None else EncryptingWriter(file, key)
        # Without a checksum of its own: the hashes are stronger.
        compressor = ZstdCompressor(level=LEVEL, write_checksum=False)
        with compressor.stream_writer(sink, closefd=False) as stream:  # type: ignore[arg-type] # any `write`
            content = json_bytes(to_json(index))
            stream.write(member_header(INDEX, len(content), index.modified))
            stream.write(content + padding(len(content)))
            for archived in index.files:
                name = index.member_name(archived.path)
                stream.write(member_header(name, archived.bytes, index.modified))
                _copy(root / archived.path, archived, stream)
                stream.write(padding(archived.bytes))
            for folder in index.empty_directories:
                name = index.member_name(folder)
                stream.write(member_header(name, 0, index.modified, is_directory=True))
            stream.write(END)
        sink.finish()
        file.flush()
        os.fsync(file.fileno())


def _copy(path: Path, archived: ArchivedFile, stream: IO[bytes]) -> None:
    """Copy a file whose size and hash are known.

    Raises:
        RunError: The file has changed.
    """
    digest, size = hashlib.sha256(), 0
    for part in _parts(path):
        size += len(part)
        if size > archived.bytes:
            break
        digest.update(part)
        stream.write(part)
    if size != archived.bytes or digest.hexdigest() != archived.sha256:
        expected = f"{pluralize(archived.bytes, 'byte')} with SHA-256 {archived.sha256[:12]}…"
        fix = "archive the run again when no process changes it"
        raise RunError(Problem(str(path), f"an unchanged file of {expected}", "other content", fix))


def _parts(path: Path) -> Iterator[bytes]:
    """Yield the content of a file; only errors of reading are about it."""
    with read_errors(path), path.open("rb") as file:
        while part := file.read(_COPY_BYTES):
            yield part
