"""Packed files: the bytes inside a `.gz`, `.zip` or `.zst` file, a piece at a time.

The format is detected from the first bytes of a file, not from its name. Nothing is unpacked to disk.
"""

from __future__ import annotations

import gzip
import io
import lzma
import shlex
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import polars as pl

from trainer.errors import DataError, Problem

PIECE = 1 << 23
"""Most bytes of a piece, but for `.zst`, whose pieces are of whole lines."""

SUFFIXES = (".gz", ".zip", ".zst")

Compression = Literal["gzip", "zip", "zstd"]

_MAGIC: dict[bytes, Compression] = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_COMMANDS: dict[Compression, str] = {"gzip": "gunzip -k", "zip": "unzip", "zstd": "zstd -d"}
_WORDS: dict[Compression, str] = {"gzip": "gzip file", "zip": "zip archive", "zstd": "zstd file"}

# No table is known to shrink this much; a file that does is more likely made to fill a machine.
_SAFE_BYTES = 1 << 30
_SAFE_RATIO = 250

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


def detect_compression(path: Path) -> Compression | None:
    """What a file is packed with, if it is."""
    with path.open("rb") as file:
        first = file.read(4)
    return next((kind for magic, kind in _MAGIC.items() if first.startswith(magic)), None)


def decompress_command(path: Path) -> str:
    """The command that unpacks a file, to be pasted into a shell."""
    suffixes: dict[str, Compression] = {".gz": "gzip", ".zip": "zip", ".zst": "zstd"}
    packing = detect_compression(path) or suffixes.get(path.suffix.lower(), "gzip")
    return f"{_COMMANDS[packing]} {shlex.quote(str(path))}"


def zip_member_name(path: Path) -> str:
    """The name of the file in a zip archive.

    Raises:
        DataError: It is damaged or does not hold just one file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _only_member(path, archive).filename
    except _ZIP_ERRORS as error:
        raise _damaged(path, "zip", error) from error


def read_chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked if it is packed.

    Raises:
        DataError: It is damaged, is encrypted, holds several files, or is larger than its packed size
            makes likely.
    """
    packing = detect_compression(path)
    match packing:
        case None:
            with path.open("rb") as file:
                while data := file.read(PIECE):
                    yield data
        case "gzip":
            yield from _limited(path, packing, _gzip_pieces(path))
        case "zip":
            yield from _limited(path, packing, _zip_pieces(path))
        case "zstd":
            yield from _limited(path, packing, _zstd_pieces(path))


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, each with its end, unpacked if it is packed.

    Raises:
        DataError: As `read_chunks`.
    """
    rest = b""
    for data in read_chunks(path):
        whole = rest + data if rest else data
        end = whole.rfind(b"\n") + 1
        yield from io.BytesIO(whole[:end])
        rest = whole[end:]
    if rest:
        yield rest


def _limited(path: Path, packing: Compression, found: Iterator[bytes]) -> Iterator[bytes]:
    limit = max(_SAFE_BYTES, _SAFE_RATIO * path.stat().st_size)
    total = 0
    for data in found:
        total += len(data)
        if total > limit:
            raise _too_large(path, packing, f"more than {limit:,} bytes")
        yield data


def _gzip_pieces(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) as file:
            while data := file.read(PIECE):
                yield data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, "gzip", error) from error


def _zip_pieces(path: Path) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            member = _only_member(path, archive)
            if member.file_size > max(_SAFE_BYTES, _SAFE_RATIO * path.stat().st_size):
                raise _too_large(path, "zip", f"{member.file_size:,} bytes")
            with archive.open(member) as file:
                while data := file.read(PIECE):
                    yield data
    except _ZIP_ERRORS as error:
        raise _damaged(path, "zip", error) from error


def _zstd_pieces(path: Path) -> Iterator[bytes]:
    # Python 3.11 cannot read zstd; polars can, as lines of UTF-8. Of a line that ends in CR LF the CR
    # is lost, which no reader of text misses.
    expected = "UTF-8 text in a zstd file"
    fix = f"unpack it with {decompress_command(path)}, and name the unpacked file"
    try:
        read_lines = pl.scan_lines(path, glob=False)
        for frame in read_lines.collect_batches(maintain_order=True):
            if frame.height:
                yield frame.to_series().str.join("\n").item().encode() + b"\n"
    except pl.exceptions.ComputeError as error:
        if "utf" not in str(error).lower():
            raise _damaged(path, "zstd", error) from error
        raise DataError(Problem(str(path), expected, "other bytes", fix)) from error
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _damaged(path, "zstd", error) from error


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    where = str(path)
    names = [info.filename for info in archive.infolist()]
    if {"[Content_Types].xml", "content.xml", "xl/workbook.xml"} & set(names):
        raise DataError(Problem(where, "a table", "a spreadsheet", "save the sheet as CSV"))
    # Those of macOS and hidden files are no data.
    members = [
        info
        for info in archive.infolist()
        if not info.is_dir()
        and not info.filename.startswith("__MACOSX/")
        and not PurePosixPath(info.filename).name.startswith(".")
    ]
    if len(members) != 1:
        found = "none"
        fix = "put one file into it"
        if members:
            shown = ", ".join(repr(info.filename) for info in members[:5])
            more = len(members) - 5
            found = f"{len(members)}: {shown}" + (f" and {more} more" if more > 0 else "")
            fix = f"unpack it with {decompress_command(path)}, and name the files"
        raise DataError(Problem(where, "a zip archive with one file", found, fix))
    (member,) = members
    name = member.filename
    if (
        name.startswith("/")
        or "\\" in name
        or ".." in PurePosixPath(name).parts
        or not name.isprintable()
        or stat.S_ISLNK(member.external_attr >> 16)
    ):
        fix = "pack the file again under its own name"
        found = f"a link or an unusual name, {name!r}"
        raise DataError(Problem(where, "a zip archive with an ordinary file", found, fix))
    if member.flag_bits & 1:
        fix = f"unpack it with {decompress_command(path)}, and name the unpacked file"
        raise DataError(Problem(where, "a zip archive without a password", "an encrypted one", fix))
    return member


def _too_large(path: Path, packing: Compression, found: str) -> DataError:
    expected = f"a {_WORDS[packing]} that unpacks to a likely size"
    fix = f"if you trust it, unpack it with {decompress_command(path)}, and name the unpacked file"
    return DataError(Problem(str(path), expected, f"{found} out of {path.stat().st_size:,}", fix))


def _damaged(path: Path, packing: Compression, error: Exception) -> DataError:
    read_lines = str(error).strip().splitlines()
    found = f"a damaged one ({read_lines[0][:120] if read_lines else type(error).__name__})"
    return DataError(Problem(str(path), f"a whole {_WORDS[packing]}", found, "Copy it again."))
