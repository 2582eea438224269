"""Split CSV text into blocks of whole records with line numbers, and describe malformed records."""

from __future__ import annotations

import csv as python_csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.config.data import Csv
from trainer.data.arrays import BoolArray
from trainer.data.csv_advice import setting
from trainer.data.csv_text import (
    ESCAPED_LINE_END,
    collapse_spaces,
    encoding_advice,
    separator_of,
    text_chunks,
)
from trainer.errors import DataError, Problem, pluralize

_CHUNK = 1 << 23
_BLOCK = 1 << 24
# In UTF-16 every other byte of most text is zero; binary data has fewer zeros.
_MIN_UTF_16_ZEROS = 0.2
# Python's default, for all readers of the process, is 131,072 characters: less than a long text.
_LARGEST_CELL = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class CsvSource:
    """A CSV file with its settings and separator."""

    path: Path
    csv: Csv
    separator: str

    @classmethod
    def from_path(cls, path: Path, csv: Csv) -> CsvSource:
        return cls(path, csv, separator_of(path, csv))

    @property
    def where(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records of a file.

    Attributes:
        text: The records.
        lines_before: Number of lines of the file before them.
        is_first: Whether it is the first block, which contains the header if there is one.
    """

    text: bytes
    lines_before: int
    is_first: bool


def blocks(source: CsvSource) -> Iterator[Block]:
    """Yield the file's text in blocks of whole records."""
    lines, rest, first = 0, b"", True
    for data in text_chunks(source.path, source.csv):
        rest += data
        if len(rest) < _BLOCK:
            continue
        end = _last_end(rest, source.csv.quote)
        if end:
            block, rest = rest[:end], rest[end:]
            yield block_of(source, block, lines, first=first)
            lines, first = lines + count_lines(source, block), False
    if rest or first:
        yield block_of(source, rest, lines, first=first)


def block_of(source: CsvSource, text: bytes, lines: int, *, first: bool) -> Block:
    """Return a block without leading blank lines.

    Raises:
        DataError: If it contains a zero byte.
    """
    if b"\0" in text:
        line = lines + count_lines(source, text[: text.index(b"\0")]) + 1
        fix = "check that it is a CSV file"
        if text.count(b"\0") > _MIN_UTF_16_ZEROS * len(text):
            fix = f"if it is UTF-16, set {setting('encoding', 'utf-16')}"
        raise DataError(Problem(f"{source.path}:{line}", "text", "binary data (a zero byte)", fix))
    if source.separator == " ":
        text = collapse_spaces(text, source.csv.quote)
    if text[:1] in (b"\n", b"\r"):
        content = text
        text = text.lstrip(b"\r\n")
        lines += content.count(b"\n", 0, len(content) - len(text))
    return Block(text, lines, first)


def count_lines(source: CsvSource, text: bytes) -> int:
    escaped = 0 if source.csv.escape is None else text.count(ESCAPED_LINE_END.encode())
    return text.count(b"\n") + escaped


def _last_end(data: bytes, quote: str) -> int:
    """Return the end of the last complete record in the data; 0 if there is none."""
    if data.count(quote.encode()) == 0:
        return data.rfind(b"\n") + 1
    cells = np.frombuffer(data, dtype=np.uint8)
    quote_byte = np.frombuffer(quote.encode()[-1:], dtype=np.uint8)[0]
    outside = (np.cumsum(cells == quote_byte, dtype=np.uint8) & 1) == 0
    ends = np.flatnonzero((cells == 10) & outside)
    return int(ends[-1]) + 1 if len(ends) else 0


def records(source: CsvSource, block: Block) -> Iterator[tuple[int, list[str]]]:
    """Yield each non-blank record with the line of the file on which it begins."""
    reader = record_reader(source, block.text)
    before, escaped = block.lines_before, block.lines_before
    for fields in reader:
        start = before + 1
        if source.csv.escape is not None:
            escaped += sum(field.count(ESCAPED_LINE_END) for field in fields)
        before = escaped + reader.line_num
        if fields:
            yield start, fields


def record_reader(source: CsvSource, text: bytes) -> Any:
    python_csv.field_size_limit(_LARGEST_CELL)
    stream = io.TextIOWrapper(io.BytesIO(text), encoding="utf-8", newline="")
    return python_csv.reader(
        stream, delimiter=source.separator, quotechar=source.csv.quote, strict=True
    )


def record_lengths(
    data: bytes, separator: str, quote: str, width: int
) -> tuple[BoolArray | None, bool]:
    """Return a mask of blank records (None if there are none), and whether another has a wrong width."""
    cells = np.frombuffer(data, dtype=np.uint8)
    inside, fields, length = 0, 0, 0
    blanks: list[BoolArray] = []
    for start in range(0, len(cells), _CHUNK):
        chunk = cells[start : start + _CHUNK]
        quoted = (np.cumsum(chunk == ord(quote), dtype=np.uint8) + np.uint8(inside)) & 1
        outside = quoted == 0
        ends = np.flatnonzero((chunk == 10) & outside)
        cuts = np.flatnonzero((chunk == ord(separator)) & outside)
        inside = int(quoted[-1])
        before = np.searchsorted(cuts, ends)
        counts = np.diff(before, prepend=0)
        starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
        sizes = ends - starts
        if len(ends):
            returns = (sizes > 0) & (chunk[np.maximum(ends - 1, 0)] == 13)
            sizes = sizes - returns
            counts[0] += fields
            sizes[0] += length
            blank = sizes == 0
            if np.any((counts != width - 1) & ~blank):
                return None, True
            blanks.append(blank)
            fields, length = len(cuts) - int(before[-1]), len(chunk) - int(ends[-1]) - 1
        else:
            fields, length = fields + len(cuts), length + len(chunk)
    if length:
        if fields != width - 1:
            return None, True
        blanks.append(np.zeros(1, dtype=np.bool_))
    mask = np.concatenate(blanks)
    return (mask if mask.any() else None), False


def wrong_length(source: CsvSource, line: int, fields: list[str], names: list[str]) -> Problem:
    csv = source.csv
    found = pluralize(len(fields), "field")
    fix = f"quote fields that contain {source.separator!r} ({csv.quote})"
    if len(fields) < len(names):
        fix = "complete or delete the line"
    expected = f"{len(names)} fields, as in the header"
    if csv.names is not None:
        expected = f"{len(names)} fields, as in data.csv.names"
    elif not csv.header:
        expected = f"{len(names)} fields, as in the first line"
    return Problem(f"{source.path}:{line}", expected, found, fix)


def explain_error(
    source: CsvSource, block: Block, error: UnicodeDecodeError | python_csv.Error
) -> DataError:
    text, quote = block.text, source.csv.quote
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as decode_error:
        line = block.lines_before + count_lines(source, text[: decode_error.start]) + 1
        column = decode_error.start - (text.rfind(b"\n", 0, decode_error.start) + 1) + 1
        return DataError(
            Problem(
                f"{source.path}:{line}",
                "UTF-8 text",
                f"byte 0x{text[decode_error.start]:02X} at byte {column} of the line",
                encoding_advice(source.path),
                "data.csv.encoding",
            )
        )
    last = block.lines_before
    try:
        for _ in (reader := record_reader(source, text)):
            last = block.lines_before + reader.line_num
    except python_csv.Error:
        pass
    where = f"{source.path}:{last + 1}"
    if "end of data" in str(error):
        found = f"an unclosed quote ({quote})"
        fix = "close it, or set data.csv.quote to a character that does not occur in the file"
        if source.csv.escape is None and rb"\%b" % quote.encode() in text:
            fix = f"if \\ escapes a quote in this file, set {setting('escape', chr(92))}"
        return DataError(Problem(where, "a complete record", found, fix))
    found = str(error)
    fix = "set data.csv.quote to a character that does not occur in the file"
    if "after" in found:
        found = f"text after a closing quote ({quote})"
        fix = "double a quote inside a quoted field"
        if source.csv.escape is None and rb"\%b" % quote.encode() in text:
            fix += f", or set {setting('escape', chr(92))} if a backslash is before it"
    return DataError(Problem(where, "a CSV record", found, fix))
