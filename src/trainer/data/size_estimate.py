"""Estimate the size of a table from metadata and the first lines of its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.config.data import Csv, Data
from trainer.data.compression import detect_compression, read_chunks
from trainer.data.csv_text import collapse_spaces, separator_of
from trainer.data.sources import Format, expand_sources, file_format
from trainer.data.tables import files_by_split
from trainer.data.typed_files import typed_schema
from trainer.errors import TrainerError

# Bytes per cell while a table is read and encoded in memory: as read (8, or 16 and more as text, with
# the file itself), encoded, and on the device.
TYPED_CELL_BYTES = 24
TEXT_CELL_BYTES = 48
ENCODED_CELL_BYTES = 4

_FIRST_BYTES = 1 << 18
_COMPRESSION_RATIO = 4


@dataclass(frozen=True, slots=True)
class TableSize:
    """An estimate of the size of a table.

    Attributes:
        cells: Rows × columns.
        memory: Bytes needed to read, encode and train in memory.
        streamable: Whether the files can be read in parts.
    """

    cells: int
    memory: int
    streamable: bool = True

    @property
    def encoded(self) -> int:
        """Bytes of the encoded rows, assuming one number per cell."""
        return self.cells * ENCODED_CELL_BYTES


def table_size(data: Data) -> TableSize | None:
    """Estimate the size of a source; None if its files are unreadable, which reading reports."""
    cells = memory = 0
    streamable = True
    try:
        for _, sources in files_by_split(data.source):
            paths, problems = expand_sources(sources)
            if problems:
                return None
            typed, text = _cells(paths, data)
            streamable &= all(file_format(path, data.format) != "npz" for path in paths)
            cells += typed + text
            memory += typed * TYPED_CELL_BYTES + text * TEXT_CELL_BYTES
    except (TrainerError, OSError, EOFError):
        return None
    return TableSize(cells, memory, streamable)


def _cells(paths: Sequence[Path], data: Data) -> tuple[int, int]:
    typed = text = 0
    for path in paths:
        kind = file_format(path, data.format)
        match kind:
            case "parquet" | "arrow":
                schema, rows = typed_schema(path, kind)
                typed += rows * len(schema)
            case "npz":
                typed += path.stat().st_size // 8
            case "csv" | "ndjson":
                text += _cells_of_text(path, kind, data.csv)
    return typed, text


def _cells_of_text(path: Path, kind: Format, csv: Csv) -> int:
    """Estimate the cells of a text file from the separators in its first bytes."""
    packed = detect_compression(path) is not None
    first = next(read_chunks(path), b"")[:_FIRST_BYTES]
    if not first:
        return 0
    if kind == "csv" and separator_of(path, csv) == " ":
        first = collapse_spaces(first, csv.quote)
    separator = b":" if kind == "ndjson" else separator_of(path, csv).encode()
    cells = first.count(separator) + (first.count(b"\n") if kind == "csv" else 0)
    size = path.stat().st_size * (_COMPRESSION_RATIO if packed else 1)
    return cells * max(size, len(first)) // len(first)
