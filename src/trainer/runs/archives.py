"""Zip archives in a run directory, which may be damaged or a stranger's.

Every member is stored as it is, so an archive holds as many bytes as it declares: one that declares
more, by compression or by members that share their bytes, is refused before it is unpacked.

Owns: arrays as `.npz` and back, what an archive may declare. Does not own: what the arrays mean.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from trainer.errors import Problem, RunError
from trainer.runs.files import reading

Array = npt.NDArray[Any]

_KINDS = "biufcSU"
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1


def check_archive(path: Path) -> None:
    """Checks that a zip archive, `model.keras` for one, can be unpacked without harm.

    All its members are stored uncompressed, do not share bytes, have names of their own, and none
    is to be unpacked outside. What Keras writes is so. Inside an HDF5 member Keras itself refuses
    links and sizes that were only declared.

    Raises:
        RunError: It is not so, or it is no archive.
    """
    with reading(path), path.open("rb") as file, _damage(path), zipfile.ZipFile(file) as archive:
        for member in _members(archive):
            name = member.filename
            if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
                raise ValueError(f"{name!r} leads outside")


def pack_arrays(arrays: Mapping[str, Array]) -> bytes:
    """The `.npz` of arrays by name: the same bytes for the same arrays, no pickled objects.

    Raises:
        TypeError: An array holds something else than numbers, truth values or text.
    """
    # numpy.savez takes the names as keyword arguments, of which it keeps two for itself.
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, value in arrays.items():
            array = np.asanyarray(value)
            if array.dtype.kind not in _KINDS:
                raise TypeError(f"state {name!r} has dtype {array.dtype}, which a .npz cannot keep")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()


def unpack_arrays(content: bytes, path: Path) -> dict[str, Array]:
    """The arrays in a `.npz` that was read from `path`.

    Raises:
        RunError: It is damaged, or it was not written by `pack_arrays`.
    """
    arrays = {}
    with _damage(path), zipfile.ZipFile(BytesIO(content)) as archive:
        for member in _members(archive):
            if not member.filename.endswith(".npy"):
                raise ValueError(f"{member.filename!r} is no array")
            with archive.open(member) as file:
                _check_array(file, member)
            with archive.open(member) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            arrays[member.filename.removesuffix(".npy")] = array
    return arrays


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turns what happens on reading the archive at `path` into a `RunError` about it."""
    try:
        yield
    # There is no end to what zipfile, ast and NumPy raise on bytes made to hurt them.
    except Exception as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise RunError(
            Problem(
                where=str(path),
                expected="an archive as the trainer wrote it, nothing in it compressed or pickled",
                found=f"damage ({reason})",
                fix="take the directory from a copy of the run",
            )
        ) from error


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The members in the order of their places, each checked; ValueError for one that is not well."""
    members = sorted(archive.infolist(), key=lambda member: member.header_offset)
    if len({member.filename for member in members}) != len(members):
        raise ValueError("two members of one name")
    ends = [*(member.header_offset for member in members), archive.start_dir]
    for member, end in zip(members, ends[1:], strict=True):
        name = member.filename
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ENCRYPTED:
            raise ValueError(f"{name!r} is compressed or encrypted")
        begin = member.header_offset + _LOCAL_HEADER_BYTES
        if member.file_size != member.compress_size or begin + member.file_size > end:
            raise ValueError(f"{name!r} is said to have {member.file_size} bytes")
    return members


def _check_array(file: IO[bytes], member: zipfile.ZipInfo) -> None:
    """ValueError unless an array has as many bytes as its header declares; allocates nothing."""
    match np.lib.format.read_magic(file):
        case (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        case (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        case version:
            raise ValueError(f"{member.filename!r} has format {version}")
    if dtype.kind not in _KINDS:
        raise ValueError(f"{member.filename!r} holds {dtype}")
    declared, there = math.prod(shape), member.file_size - file.tell()
    # The count as well, as elements can have no width.
    if (
        min(shape, default=0) < 0
        or declared * dtype.itemsize != there
        or declared > member.file_size
    ):
        raise ValueError(f"{member.filename!r} declares {shape} of {dtype} in {there} bytes")
