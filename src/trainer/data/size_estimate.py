"""Estimate the size of a table from metadata and the first lines of its files."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from trainer.config.data import Data
from trainer.config.file_formats import TEXT_FORMATS, WHOLE_FORMATS
from trainer.config.images import image_columns
from trainer.config.text import text_columns
from trainer.config.translation import target_tokens, translates
from trainer.data.parallel_paths import bytes_of_path
from trainer.data.sources import expand_sources, files_by_split
from trainer.data.table_files import TableFile, table_file
from trainer.errors import TrainerError

# Bytes per cell while a table is read and encoded in memory: as read (8, or 16 and more as text, with
# the file itself), encoded, and on the device.
TYPED_CELL_BYTES = 24
TEXT_CELL_BYTES = 48
ENCODED_CELL_BYTES = 4
_COPIES = 2


@dataclass(frozen=True, slots=True)
class TableSize:
    """An estimate of the size of a table.

    Attributes:
        cells: Rows × columns.
        memory: Bytes needed to read, encode and train in memory.
        streamable: Whether the files can be read in parts.
        images: Bytes of the decoded images, which are part of `memory`.
    """

    cells: int
    memory: int
    streamable: bool = True
    images: int = 0

    @property
    def encoded(self) -> int:
        """Bytes of the encoded rows, assuming one number per cell, and of the images."""
        return self.cells * ENCODED_CELL_BYTES + self.images


def table_size(data: Data) -> TableSize | None:
    """Estimate the size of a source; None if its files are unreadable, which reading reports."""
    cells = memory = images = 0
    streamable = True
    try:
        for _, sources in files_by_split(data.source):
            paths, problems = expand_sources(sources)
            if problems:
                return None
            for path in paths:
                file = table_file(path, data)
                count = file.count_cells()
                is_text = file.format in TEXT_FORMATS
                cells += count
                memory += count * (TEXT_CELL_BYTES if is_text else TYPED_CELL_BYTES)
                memory += _text_bytes(file, count, data)
                images += _image_bytes(file, count, data)
                streamable &= file.format not in WHOLE_FORMATS
    except (TrainerError, OSError, EOFError):
        return None
    return TableSize(cells, memory + images, streamable, images)


def _text_bytes(file: TableFile, cells: int, data: Data) -> int:
    """Return the most bytes of the terms and tokens of a file, given its number of cells, in memory and
    on the device.
    """
    texts = text_columns(data)
    length = 0
    if any(column.kind == "tokens" for column in data.columns.values()):
        length = data.tokens.length
    if translates(data):
        length = data.tokens.length + target_tokens(data).length
    if not (texts or length) or file.format in WHOLE_FORMATS:
        return 0
    names, _ = file.schema()
    rows = cells // max(1, len(names))
    terms = sum(data.columns[name].max_row_terms or data.text.max_row_terms for name in texts)
    # A character begins at most one term of each length.
    lengths = max(data.text.word_ngrams[1], data.text.character_ngrams[1])
    values = 2 * min(rows * terms, lengths * bytes_of_path(file.path))
    return _COPIES * ENCODED_CELL_BYTES * (values + rows * length)


def _image_bytes(file: TableFile, cells: int, data: Data) -> int:
    """Return the bytes of the decoded images of a file, given its number of cells."""
    if not image_columns(data) or file.format in WHOLE_FORMATS:
        return 0
    names, _ = file.schema()
    return cells // max(1, len(names)) * prod(data.image.decoded_shape)
