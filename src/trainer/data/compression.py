"""Read `.gz`, `.zip` and `.zst` files in chunks, without unpacking them to disk.

The format is detected from the first bytes of a file, not from its name.
"""

from __future__ import annotations

import gzip
import io
import lzma
import shlex
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import polars as pl

from trainer.errors import DataError, Problem

CHUNK_BYTES = 1 << 23
"""Maximum chunk size in bytes, except for `.zst`, whose chunks are whole lines."""

SUFFIXES = (".gz", ".zip", ".zst")

Compression = Literal["gzip", "zip", "zstd"]

_MAGIC: dict[bytes, Compression] = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_COMMANDS: dict[Compression, str] = {"gzip": "gunzip -k", "zip": "unzip", "zstd": "zstd -d"}
_NAMES: dict[Compression, str] = {"gzip": "gzip file", "zip": "zip archive", "zstd": "zstd file"}

# Tables do not compress this well; a file that does is more likely a decompression bomb.
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
    """Return the compression of a file, or None."""
    with path.open("rb") as file:
        first = file.read(4)
    return next((kind for magic, kind in _MAGIC.items() if first.startswith(magic)), None)


def decompress_command(path: Path) -> str:
    """Return the shell command that unpacks a file."""
    suffixes: dict[str, Compression] = {".gz": "gzip", ".zip": "zip", ".zst": "zstd"}
    compression = detect_compression(path) or suffixes.get(path.suffix.lower(), "gzip")
    return f"{_COMMANDS[compression]} {shlex.quote(str(path))}"


def zip_member_name(path: Path) -> str:
    """Return the name of the file in a zip archive.

    Raises:
        DataError: If it is damaged or does not contain exactly one file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _only_member(path, archive).filename
    except _ZIP_ERRORS as error:
        raise _damaged(path, "zip", error) from error


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file in chunks, decompressed if needed.

    Raises:
        DataError: If it is damaged, encrypted, has several files, or decompresses to an implausible
            size.
    """
    compression = detect_compression(path)
    match compression:
        case None:
            with path.open("rb") as file:
                while data := file.read(CHUNK_BYTES):
                    yield data
        case "gzip":
            yield from _limited(path, compression, _gzip_chunks(path))
        case "zip":
            yield from _limited(path, compression, _zip_chunks(path))
        case "zstd":
            yield from _limited(path, compression, _zstd_chunks(path))


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file with their line endings, decompressed if needed.

    Raises:
        DataError: See `read_chunks`.
    """
    return lines_of(read_chunks(path))


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a text with their line endings, given its chunks."""
    rest = b""
    for data in chunks:
        buffer = rest + data if rest else data
        end = buffer.rfind(b"\n") + 1
        yield from io.BytesIO(buffer[:end])
        rest = buffer[end:]
    if rest:
        yield rest


def _limited(path: Path, compression: Compression, chunks: Iterator[bytes]) -> Iterator[bytes]:
    limit = max(_SAFE_BYTES, _SAFE_RATIO * path.stat().st_size)
    total = 0
    for data in chunks:
        total += len(data)
        if total > limit:
            raise _too_large(path, compression, f"more than {limit:,} bytes")
        yield data


def _gzip_chunks(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) as file:
            while data := file.read(CHUNK_BYTES):
                yield data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, "gzip", error) from error


def _zip_chunks(path: Path) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            member = _only_member(path, archive)
            if member.file_size > max(_SAFE_BYTES, _SAFE_RATIO * path.stat().st_size):
                raise _too_large(path, "zip", f"{member.file_size:,} bytes")
            with archive.open(member) as file:
                while data := file.read(CHUNK_BYTES):
                    yield data
    except _ZIP_ERRORS as error:
        raise _damaged(path, "zip", error) from error


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    # Python 3.11 cannot read zstd; polars can, as lines of UTF-8. It drops the CR of CR LF, which does
    # not matter for text.
    expected = "UTF-8 text in a zstd file"
    fix = f"unpack it with {decompress_command(path)}, and use the unpacked file"
    try:
        frames = pl.scan_lines(path, glob=False)
        for frame in frames.collect_batches(maintain_order=True):
            if frame.height:
                yield frame.to_series().str.join("\n").item().encode() + b"\n"
    except pl.exceptions.ComputeError as error:
        if "utf" not in str(error).lower():
            raise _damaged(path, "zstd", error) from error
        raise DataError(Problem(str(path), expected, "invalid bytes", fix)) from error
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _damaged(path, "zstd", error) from error


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    where = str(path)
    names = [info.filename for info in archive.infolist()]
    if {"[Content_Types].xml", "content.xml", "xl/workbook.xml"} & set(names):
        raise DataError(Problem(where, "a table", "a spreadsheet", "save the sheet as CSV"))
    # Ignore hidden files and those that macOS adds.
    members = [
        info
        for info in archive.infolist()
        if not info.is_dir()
        and not info.filename.startswith("__MACOSX/")
        and not PurePosixPath(info.filename).name.startswith(".")
    ]
    if len(members) != 1:
        found = "none"
        fix = "add one file to it"
        if members:
            shown = ", ".join(repr(info.filename) for info in members[:5])
            more = len(members) - 5
            found = f"{len(members)}: {shown}" + (f" and {more} more" if more > 0 else "")
            fix = f"unpack it with {decompress_command(path)}, and use the files"
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
        fix = "create the archive again with a plain file name"
        found = f"a link or an unusual name, {name!r}"
        raise DataError(Problem(where, "a zip archive with an ordinary file", found, fix))
    if member.flag_bits & 1:
        fix = f"unpack it with {decompress_command(path)}, and use the unpacked file"
        raise DataError(Problem(where, "a zip archive without a password", "an encrypted one", fix))
    return member


def _too_large(path: Path, compression: Compression, found: str) -> DataError:
    expected = f"a {_NAMES[compression]} that decompresses to a plausible size"
    fix = f"if you trust it, unpack it with {decompress_command(path)}, and use the unpacked file"
    return DataError(Problem(str(path), expected, f"{found} from {path.stat().st_size:,}", fix))


def _damaged(path: Path, compression: Compression, error: Exception) -> DataError:
    message = str(error).strip().splitlines()
    found = f"a damaged one ({message[0][:120] if message else type(error).__name__})"
    return DataError(Problem(str(path), f"an intact {_NAMES[compression]}", found, "copy it again"))
