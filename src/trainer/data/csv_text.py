r"""Decode the text of a CSV file: UTF-8, with `\n` line endings, without skipped lines.

Skipped lines become blank lines, to preserve line numbers. A character after `data.csv.escape` is
replaced by a placeholder (a Unicode noncharacter), so that parsers do not treat it as a quote or a
separator; `unescaped` restores it in the cells.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from trainer.config.data import Csv
from trainer.data.compression import decompress_command, detect_compression, read_chunks
from trainer.data.sources import inner_suffix
from trainer.errors import DataError, Problem

_FIRST_PLACEHOLDER = 0xFDD0
ESCAPED_LINE_END = chr(_FIRST_PLACEHOLDER)
ESCAPED_N = chr(_FIRST_PLACEHOLDER + 1)
"""The placeholder for an escaped N: several databases write `\\N` for missing values."""

_MAGIC = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\x89PNG": "an image",
    b"%PDF": "a PDF",
}
_SLICE = 1 << 24
_PROBED = 1 << 20

Cells = np.ndarray[tuple[int], np.dtype[np.uint8]]


def separator_of(path: Path, csv: Csv) -> str:
    """Return the field separator of a file."""
    tabbed = csv.separator == "," and inner_suffix(path) in (".tsv", ".tab")
    return "\t" if tabbed else csv.separator


def whole_text(path: Path, csv: Csv) -> bytes:
    """Return all text of a file.

    Raises:
        DataError: If it is empty, not text, or in another encoding.
    """
    # Joining a single chunk does not copy it.
    return b"".join(text_chunks(path, csv, single_chunk=True))


def text_chunks(path: Path, csv: Csv, *, single_chunk: bool = False) -> Iterator[bytes]:
    """Yield the text of a file in chunks of any length.

    Args:
        path: The file.
        csv: The CSV settings.
        single_chunk: Whether to yield a single chunk.

    Raises:
        DataError: See `whole_text`.
    """
    raw = read_chunks(path)
    if single_chunk:
        raw = iter((b"".join(raw),))
    text = _with_newlines(_decoded(path, csv, raw))
    if csv.skip:
        text = _without_first(text, csv.skip)
    if csv.escape is not None:
        text = _escaped(text, csv.escape, _placeholders(csv, separator_of(path, csv)))
    if csv.comment is not None:
        text = _without_comments(text, csv.comment.encode(), csv.quote.encode())
    return text


def _decoded(path: Path, csv: Csv, raw: Iterator[bytes]) -> Iterator[bytes]:
    """Decode the text as UTF-8, without a byte order mark."""
    decoder = codecs.getincrementaldecoder(csv.encoding)() if csv.encoding != "utf-8" else None
    first = True
    try:
        for data in raw:
            if first:
                _check_start(path, csv, data)
            if decoder is None:
                text = data.removeprefix(b"\xef\xbb\xbf") if first else data
            else:
                text = decoder.decode(data).removeprefix("\ufeff" * first).encode()
            first = False
            yield text
        if decoder is not None:
            decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise _wrong_encoding(path, csv, error) from error
    if first:
        raise _empty(path, csv)


def _check_start(path: Path, csv: Csv, data: bytes) -> None:
    where = str(path)
    if not data or data.isspace():
        raise _empty(path, csv)
    for magic, meaning in _MAGIC.items():
        if data.startswith(magic):
            found, fix = meaning, "correct its extension, set data.format, or save it as CSV"
            if detect_compression(path) is not None:
                found, fix = f"{meaning} in it", f"unpack it with {decompress_command(path)}"
            raise DataError(Problem(where, "a text file", found, fix))
    key = "data.csv.encoding"
    if csv.encoding != "utf-16" and data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        expected, fix = f"{csv.encoding} text", "set data.csv.encoding: utf-16"
        expected = "UTF-8 text" if csv.encoding == "utf-8" else expected
        raise DataError(Problem(where, expected, "UTF-16 text", fix, key))
    if csv.encoding in ("latin-1", "windows-1252") and _is_utf8(data):
        fix = "set data.csv.encoding: utf-8"
        raise DataError(Problem(where, f"{csv.encoding} text", "UTF-8 text", fix, key))


def _empty(path: Path, csv: Csv) -> DataError:
    expected = "a header line and rows" if csv.header else "rows"
    return DataError(Problem(str(path), expected, "an empty file"))


def _is_utf8(data: bytes) -> bool:
    """Return whether text has non-ASCII characters and all are valid UTF-8, which is no accident."""
    try:
        # The incremental decoder ignores a character that is cut off at the end.
        return not codecs.getincrementaldecoder("utf-8")().decode(data[:_PROBED]).isascii()
    except UnicodeDecodeError:
        return False


def _wrong_encoding(path: Path, csv: Csv, error: UnicodeError) -> DataError:
    found = f"invalid bytes ({error})"
    fix = "set data.csv.encoding to the encoding of the file, for instance utf-8 or windows-1252"
    if csv.encoding == "utf-16":
        fix = "set data.csv.encoding: utf-8"
    return DataError(Problem(str(path), f"{csv.encoding} text", found, fix, "data.csv.encoding"))


def _with_newlines(text: Iterator[bytes]) -> Iterator[bytes]:
    r"""Replace `\r`, the line ending of old Mac files, by `\n`."""
    is_old_mac = None
    for data in text:
        if is_old_mac is None:
            is_old_mac = b"\n" not in data and b"\r" in data
        yield data.replace(b"\r", b"\n") if is_old_mac else data


def _without_first(text: Iterator[bytes], lines: int) -> Iterator[bytes]:
    """Make the first lines blank."""
    for data in text:
        start = 0
        while lines and start < len(data):
            end = data.find(b"\n", start)
            if end < 0:
                start = len(data)
                break
            start = end + 1
            lines -= 1
            yield b"\n"
        yield data[start:] if start else data


def _placeholders(csv: Csv, separator: str) -> dict[str, str]:
    """Return the placeholder for each character that has another meaning when it is escaped."""
    assert csv.escape is not None
    special = [
        "\n", "N", "\r", csv.escape, csv.quote, separator, *(csv.comment or "")[:1], " ", "\t",
    ]  # fmt: skip
    characters = dict.fromkeys(special)
    return {
        character: chr(_FIRST_PLACEHOLDER + index) for index, character in enumerate(characters)
    }


def _escaped(text: Iterator[bytes], escape: str, placeholders: dict[str, str]) -> Iterator[bytes]:
    """Replace escaped characters with placeholders; before other characters the escape is dropped."""
    escape_bytes = escape.encode()
    codes = {
        character.encode(): placeholder.encode() for character, placeholder in placeholders.items()
    }
    codes[b"\r\n"] = codes[b"\n"]
    ordered = sorted(codes, key=len, reverse=True)
    alternatives = b"|".join(re.escape(character) for character in ordered)
    pattern = re.compile(re.escape(escape_bytes) + b"(" + alternatives + b")?")

    def replace(match: re.Match[bytes]) -> bytes:
        return codes.get(match[1], b"")

    rest = b""
    for data in text:
        buffer = rest + data if rest else data
        # A possibly incomplete escape waits for the next chunk.
        cut = len(buffer)
        last = buffer.rfind(escape_bytes, max(0, cut - 8))
        while last >= 0:
            cut = last
            last = cut - len(escape_bytes) if buffer.endswith(escape_bytes, 0, cut) else -1
        rest = buffer[cut:]
        yield pattern.sub(replace, buffer[:cut])
    if rest:
        yield pattern.sub(replace, rest)


def unescaped(cells: pl.Expr, csv: Csv, separator: str) -> pl.Expr:
    """Restore escaped characters in cells; a cell that is an escaped N becomes null."""
    placeholders = _placeholders(csv, separator)
    missing = cells == ESCAPED_N
    restored = cells.str.replace_many(list(placeholders.values()), list(placeholders))
    return pl.when(~missing).then(restored)


def unescaped_name(name: str, csv: Csv, separator: str) -> str:
    """Restore escaped characters in a column name."""
    if csv.escape is not None:
        for character, placeholder in _placeholders(csv, separator).items():
            name = name.replace(placeholder, character)
    return name


def _without_comments(text: Iterator[bytes], prefix: bytes, quote: bytes) -> Iterator[bytes]:
    """Make lines blank that begin with `prefix` outside quotes."""
    rest, inside = b"", 0
    for data in text:
        buffer = rest + data if rest else data
        end = buffer.rfind(b"\n") + 1
        rest = buffer[end:]
        if end:
            clean, inside = _uncommented(buffer[:end], prefix, quote, inside)
            yield clean
    if rest:
        yield _uncommented(rest, prefix, quote, inside)[0]


def _uncommented(data: bytes, prefix: bytes, quote: bytes, inside: int) -> tuple[bytes, int]:
    """Remove comments from whole lines; `inside` is 1 if they begin in a quoted field."""
    data, marker = b"\n" + data, b"\n" + prefix
    kept: list[bytes] = []
    position, found = 0, data.find(marker)
    while found >= 0:
        part = data[position : found + 1]
        kept.append(part)
        inside ^= part.count(quote) & 1
        position = found + 1
        if not inside:
            end = data.find(b"\n", found + 1)
            position = len(data) if end < 0 else end
        found = data.find(marker, position)
    kept.append(data[position:])
    return b"".join(kept)[1:], inside ^ (data.count(quote, position) & 1)


def collapse_spaces(data: bytes, quote: str) -> bytes:
    """Collapse spaces and tabs between fields to one space, and strip them from the ends of lines.

    Args:
        data: Whole records.
        quote: The quote character; whitespace in quoted fields is kept.
    """
    parts, start, inside = [], 0, 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + _SLICE) + 1
        end = end or data.find(b"\n", start) + 1 or len(data)
        cells = np.frombuffer(data, dtype=np.uint8, count=end - start, offset=start)
        part, inside = _collapse_lines(cells, quote.encode()[-1], inside)
        parts.append(part)
        start = end
    return b"".join(parts)


def _collapse_lines(cells: Cells, quote: int, inside: int) -> tuple[bytes, int]:
    """Collapse spaces in whole lines; `inside` is 1 if they begin in a quoted field."""
    blank = (cells == 32) | (cells == 9)
    quotes = cells == quote
    if inside or quotes.any():
        quoted = (np.cumsum(quotes, dtype=np.uint8) + np.uint8(inside)) & 1
        inside = int(quoted[-1])
        blank &= quoted == 0
    ends = (cells == 10) | (cells == 13)
    first = np.zeros_like(blank)
    np.logical_not(blank[:-1] | ends[:-1], out=first[1:])
    keep = ~blank | first
    cells, blank, ends = cells[keep], blank[keep], ends[keep]
    last = np.ones_like(blank)
    last[:-1] = ends[1:]
    keep = ~(blank & last)
    return np.where(blank, np.uint8(32), cells)[keep].tobytes(), inside


def encoding_advice(path: Path) -> str:
    """Return the fix for text that is not UTF-8."""
    if path.suffix.lower() == ".zst":
        return f"unpack it with {decompress_command(path)}, and set data.csv.encoding"
    return "set data.csv.encoding, for instance to windows-1252 or latin-1"
