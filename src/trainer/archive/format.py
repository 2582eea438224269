"""The format of an archive: its index, and the members of the tar file."""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from trainer.errors import Problem, RunError
from trainer.runs.checkpoints import METADATA, recorded_files
from trainer.runs.readers import short_repr

FORMAT = 1
INDEX = "archive.json"
"""The first member: the index as JSON."""

MAX_INDEX_BYTES = 1 << 26
BLOCK_BYTES = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK_BYTES)
"""The end of a tar file."""

_MAX_EXTENDED_BYTES = 1 << 16
_MAX_DEPTH = 64
_MAX_NAME_BYTES = 255
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RECORD = re.compile(rb"(\d{1,6}) ([a-z]+)=")
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


class FormatError(Exception):
    """The content of an archive is not what `trainer archive` writes.

    Attributes:
        expected: What would be valid.
        found: What was found.
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected, self.found = expected, found


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A file: its path in the directory, size in bytes, and SHA-256 in hexadecimal."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Index:
    """The content of an archive.

    Attributes:
        format: Version of the format.
        kind: Whether it is a run or a sweep.
        name: Name of the experiment.
        directory: Name of the archived directory.
        mode: Permissions of the directory, as in `chmod`.
        modified: Time of all members, in seconds since 1970: when the run was started.
        files: The files, sorted by path.
        empty_directories: The directories without files, sorted.
    """

    format: int
    kind: Literal["run", "sweep"]
    name: str
    directory: str
    mode: int
    modified: int
    files: tuple[ArchivedFile, ...]
    empty_directories: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)

    def member_name(self, path: str) -> str:
        """Return the name of a file or directory in the tar file."""
        return f"{self.directory}/{path}"


def check_index(index: Index) -> None:
    """Check that an index from an untrusted archive describes files inside one directory.

    Raises:
        FormatError: It does not.
    """
    for name in (index.name, index.directory):
        if not _is_name(name):
            raise FormatError("the name of a directory", short_repr(name))
    if index.mode > 0o777:
        raise FormatError("permissions of a directory", oct(index.mode))
    paths = [file.path for file in index.files]
    for path in (*paths, *index.empty_directories):
        names = path.split("/")
        if len(names) > _MAX_DEPTH or not all(map(_is_name, names)):
            raise FormatError("a path inside the run", short_repr(path))
    for file in index.files:
        if not _SHA256.fullmatch(file.sha256):
            raise FormatError(f"the SHA-256 of '{file.path}'", short_repr(file.sha256))
    counts = Counter([*paths, *index.empty_directories])
    for path, count in counts.items():
        if count > 1:
            raise FormatError("unique paths", f"'{path}' {count} times")
        for parent in PurePosixPath(path).parents:
            if str(parent) in counts:
                raise FormatError("paths of files or directories", f"both '{parent}' and '{path}'")


def _is_name(text: str) -> bool:
    """Return whether a text can be the name of a file, and of nothing outside its directory."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return False
    return 0 < size <= _MAX_NAME_BYTES and text not in {".", ".."} and not {"/", "\0"} & set(text)


def member_header(name: str, size: int, modified: int, *, is_directory: bool = False) -> bytes:
    """Return the header of a member of the tar file.

    Args:
        name: Its name.
        size: Its size in bytes.
        modified: Its time, in seconds since 1970.
        is_directory: Whether it is a directory.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, modified
    info.mode = 0o755 if is_directory else 0o644
    info.type = tarfile.DIRTYPE if is_directory else tarfile.REGTYPE
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """Return the zeros after the content of a member."""
    return bytes(-size % BLOCK_BYTES)


def read_member(
    stream: IO[bytes], name: str, size: int | None = None, *, is_directory: bool = False
) -> int:
    """Read the header of the next member, and check its name and size; return its size.

    Args:
        stream: The tar file.
        name: Its expected name.
        size: Its expected size; None for any.
        is_directory: Whether it must be a directory instead of a regular file.

    Raises:
        FormatError: It is another member, or of another kind.
    """
    info = _header(stream)
    extended: Mapping[str, str] = {}
    if info.type == tarfile.XHDTYPE:
        extended = _extended(stream, info.size)
        info = _header(stream)
    found = extended.get("path", info.name).rstrip("/")
    if info.type in _KINDS:
        raise FormatError("regular files", f"{_KINDS[info.type]}, {short_repr(found)}")
    if found != name:
        raise FormatError(f"the member '{name}'", short_repr(found))
    if info.type != (tarfile.DIRTYPE if is_directory else tarfile.REGTYPE):
        expected = "a directory" if is_directory else "a regular file"
        raise FormatError(f"{expected} '{name}'", "something else")
    declared = int(extended["size"]) if "size" in extended else info.size
    if declared < 0 or size not in (None, declared):
        raise FormatError(
            f"{'a number of' if size is None else size} bytes of '{name}'", f"{declared}"
        )
    return declared


def read_exactly(stream: IO[bytes], size: int) -> bytes:
    """Read a number of bytes.

    Raises:
        FormatError: The stream ends before.
    """
    parts = []
    while size:
        part = stream.read(size)
        if not part:
            raise FormatError("a complete archive", "one that was cut off")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _header(stream: IO[bytes]) -> tarfile.TarInfo:
    block = read_exactly(stream, BLOCK_BYTES)
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise FormatError("the next member of the archive", f"something else ({error})") from error


def _extended(stream: IO[bytes], size: int) -> dict[str, str]:
    """Read the values of an extended header, which has names and sizes that do not fit elsewhere."""
    if not 0 <= size <= _MAX_EXTENDED_BYTES:
        raise FormatError("a short extended header", f"{size:,} bytes")
    content = read_exactly(stream, size)
    read_exactly(stream, len(padding(size)))
    values: dict[str, str] = {}
    start = 0
    while start < size:
        match = _RECORD.match(content, start)
        end = start + int(match[1]) if match else 0
        if match is None or not match.end() < end <= size or content[end - 1 : end] != b"\n":
            raise FormatError("an extended header", "a damaged one")
        values[match[2].decode()] = content[match.end() : end - 1].decode("utf-8", "replace")
        start = end
    if "size" in values and not re.fullmatch(r"[0-9]{1,19}", values["size"]):
        raise FormatError("a size in an extended header", short_repr(values["size"]))
    return values


def check_recorded_hashes(root: Path, files: Iterable[ArchivedFile]) -> None:
    """Compare files with the hashes that the checkpoints of the run have recorded.

    Args:
        root: The directory of the run or sweep.
        files: Its files.

    Raises:
        RunError: Files of checkpoints are missing or damaged; lists all of them.
    """
    actual = {file.path: file for file in files}
    problems = [
        problem
        for path in actual
        if PurePosixPath(path).name == METADATA
        for problem in _checkpoint_problems(root, PurePosixPath(path).parent, actual)
    ]
    if problems:
        raise RunError(problems)


def _checkpoint_problems(
    root: Path, directory: PurePosixPath, actual: Mapping[str, ArchivedFile]
) -> Iterator[Problem]:
    try:
        recorded = recorded_files(root / directory)
    except RunError as error:
        yield from error.problems
        return
    for name, (sha256, size) in recorded.items():
        path = str(directory / name)
        expected = (
            f"the content that the checkpoint recorded, {size:,} bytes with SHA-256 {sha256[:12]}…"
        )
        fix = f"restore it from a copy of the run, or delete {root / directory}"
        if path not in actual:
            yield Problem(str(root / path), expected, "no such file", fix)
        elif actual[path].sha256 != sha256:
            found = f"{actual[path].bytes:,} bytes with SHA-256 {actual[path].sha256[:12]}…"
            yield Problem(str(root / path), expected, found, fix)
