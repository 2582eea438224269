"""Zip archives in a run directory, which may be damaged or untrusted.

Every member is stored uncompressed, so an archive holds as many bytes as it declares. An archive that
declares more, by compression or by members that share bytes, is rejected before it is unpacked.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from trainer.errors import Problem, RunError
from trainer.runs.files import read_errors

Array = npt.NDArray[Any]

_KINDS = "biufcSU"
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1


def check_archive(path: Path) -> None:
    """Check that a zip archive, such as `model.keras`, is safe to unpack.

    All members must be stored uncompressed, share no bytes, have distinct names and stay inside the
    target folder. Archives written by Keras satisfy this. Inside an HDF5 member, Keras itself rejects
    links and sizes that are declared but not stored.

    Raises:
        RunError: The archive is unsafe, or the file is not an archive.
    """
    with (
        read_errors(path),
        path.open("rb") as file,
        _damage(path),
        zipfile.ZipFile(file) as archive,
    ):
        for member in _members(archive):
            name = member.filename
            if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
                raise ValueError(f"{name!r} points outside the archive")


def write_arrays(file: IO[bytes], arrays: Mapping[str, Array], *, deflate: bool = False) -> None:
    """Write named arrays to a seekable file as `.npz`: deterministic, without pickled objects.

    They are written in parts: they can take most of the memory.

    Args:
        file: The file.
        arrays: Name → array.
        deflate: Whether to compress them; `read_arrays` rejects such a file.

    Raises:
        TypeError: An array holds something other than numbers, booleans or text.
    """
    # numpy.savez takes the names as keyword arguments and reserves two of them.
    method = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, value in arrays.items():
            array = np.asanyarray(value)
            if array.dtype.kind not in _KINDS:
                raise TypeError(
                    f"state {name!r} has dtype {array.dtype}, which a .npz cannot store"
                )
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_arrays(file: IO[bytes], path: Path) -> dict[str, Array]:
    """Return the arrays in a `.npz` file, which was opened at `path`.

    Raises:
        RunError: The content is damaged, or was not written by `write_arrays`.
    """
    arrays = {}
    with _damage(path), zipfile.ZipFile(file) as archive:
        for member in _members(archive):
            if not member.filename.endswith(".npy"):
                raise ValueError(f"{member.filename!r} is not an array")
            with archive.open(member) as content:
                _check_array(content, member)
            with archive.open(member) as content:
                array = np.lib.format.read_array(content, allow_pickle=False)
            arrays[member.filename.removesuffix(".npy")] = array
    return arrays


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn any error while reading the archive at `path` into a `RunError` about it."""
    try:
        yield
    # zipfile, ast and NumPy raise almost anything on malicious bytes.
    except Exception as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise RunError(
            Problem(
                where=str(path),
                expected="an archive written by trainer, with nothing compressed or pickled",
                found=f"a damaged one ({reason})",
                fix="restore the directory from a copy of the run",
            )
        ) from error


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the members in file order, each checked; raise ValueError for an unsafe one."""
    members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    if len({member.filename for member in members}) != len(members):
        raise ValueError("two members with the same name")
    ends = [*(member.header_offset for member in members), archive.start_dir]
    for member, end in zip(members, ends[1:], strict=True):
        name = member.filename
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ENCRYPTED:
            raise ValueError(f"{name!r} is compressed or encrypted")
        begin = member.header_offset + _LOCAL_HEADER_BYTES
        if member.file_size != member.compress_size or begin + member.file_size > end:
            raise ValueError(f"{name!r} declares {member.file_size} bytes")
    return members


def _check_array(file: IO[bytes], member: zipfile.ZipInfo) -> None:
    """Raise ValueError unless the array has as many bytes as its header declares; allocate nothing."""
    match np.lib.format.read_magic(file):
        case (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        case (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        case version:
            raise ValueError(f"{member.filename!r} has format {version}")
    if dtype.kind not in _KINDS:
        raise ValueError(f"{member.filename!r} holds {dtype}")
    count, size = math.prod(shape), member.file_size - file.tell()
    # The count is checked too, as elements can have zero width.
    if min(shape, default=0) < 0 or count * dtype.itemsize != size or count > member.file_size:
        raise ValueError(f"{member.filename!r} declares {shape} of {dtype} in {size} bytes")
