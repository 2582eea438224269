"""The files of a table, by format: read as a whole, or some columns in blocks.

A format is a class here, with its name and extensions in `trainer.config.file_formats`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl

from trainer.config.data import Csv, Data
from trainer.config.file_formats import FileFormat
from trainer.config.images import FOLDER_PATH, image_columns
from trainer.data.compression import detect_compression, read_chunks
from trainer.data.csv_files import csv_line, read_csv, read_csv_blocks, read_csv_header
from trainer.data.csv_text import collapse_spaces, separator_of
from trainer.data.image_folders import FOLDER_SCHEMA, count_images, read_image_folder
from trainer.data.line_files import line_columns, read_line_blocks
from trainer.data.ndjson_files import (
    conform_to_schema,
    ndjson_line,
    ndjson_schema,
    read_ndjson,
    read_ndjson_blocks,
)
from trainer.data.parallel_paths import files_of_path
from trainer.data.sources import file_format
from trainer.data.typed_files import (
    read_arrow,
    read_npz,
    read_parquet,
    read_typed_blocks,
    typed_schema,
)
from trainer.errors import DataError, Problem

_FIRST_BYTES = 1 << 18
_COMPRESSION_RATIO = 4


@dataclass(frozen=True, slots=True)
class TableFile(ABC):
    """One file of a table. Formats other than `WHOLE_FORMATS` override `schema` and `blocks`.

    Attributes:
        path: Its path.
        csv: The CSV settings.
        format: Its format.
    """

    path: Path
    csv: Csv
    format: ClassVar[FileFormat]

    @abstractmethod
    def read(self) -> tuple[pl.DataFrame, list[str]]:
        """Return all rows, and warnings.

        Raises:
            DataError: If the file is damaged; so do the other methods.
        """

    @abstractmethod
    def count_cells(self) -> int:
        """Return the number of rows times columns, or an estimate, without reading the rows."""

    def schema(self) -> tuple[pl.Schema, list[str]]:
        """Return the types of all columns, as `read` returns them, and warnings."""
        fix = "save it as Parquet, or set runtime.engine to resident"
        expected, found = "a format that can be read in parts", "one that must be read as a whole"
        raise DataError(Problem(str(self.path), expected, found, fix))

    def blocks(self, schema: Mapping[str, pl.DataType], rows: int) -> Iterator[pl.DataFrame]:
        """Yield the columns in `schema` of all rows, where possible `rows` rows at a time."""
        raise NotImplementedError

    def line(self, row: int) -> int | None:
        """Return the line of a row, from 0; None for formats without lines."""
        return None


class _CsvFile(TableFile):
    format = "csv"

    def read(self) -> tuple[pl.DataFrame, list[str]]:
        return read_csv(self.path, self.csv)

    def count_cells(self) -> int:
        separator, first = separator_of(self.path, self.csv), _first_bytes(self.path)
        if separator == " ":
            first = collapse_spaces(first, self.csv.quote)
        return _scaled(self.path, first, first.count(separator.encode()) + first.count(b"\n"))

    def schema(self) -> tuple[pl.Schema, list[str]]:
        names, notes = read_csv_header(self.path, self.csv)
        return pl.Schema(dict.fromkeys(names, pl.String())), notes

    def blocks(self, schema: Mapping[str, pl.DataType], rows: int) -> Iterator[pl.DataFrame]:
        return read_csv_blocks(self.path, self.csv, list(schema))

    def line(self, row: int) -> int:
        return csv_line(self.path, self.csv, row)


class _NdjsonFile(TableFile):
    format = "ndjson"

    def read(self) -> tuple[pl.DataFrame, list[str]]:
        return read_ndjson(self.path), []

    def count_cells(self) -> int:
        first = _first_bytes(self.path)
        return _scaled(self.path, first, first.count(b":"))

    def schema(self) -> tuple[pl.Schema, list[str]]:
        # Any line can have other names.
        return pl.Schema(ndjson_schema(read_ndjson_blocks(self.path))), []

    def blocks(self, schema: Mapping[str, pl.DataType], rows: int) -> Iterator[pl.DataFrame]:
        return (conform_to_schema(frame, schema) for frame in read_ndjson_blocks(self.path))

    def line(self, row: int) -> int:
        return ndjson_line(self.path, row)


class _ParquetFile(TableFile):
    format: ClassVar[Literal["parquet", "arrow"]] = "parquet"

    def read(self) -> tuple[pl.DataFrame, list[str]]:
        return read_parquet(self.path), []

    def count_cells(self) -> int:
        schema, rows = typed_schema(self.path, self.format)
        return rows * len(schema)

    def schema(self) -> tuple[pl.Schema, list[str]]:
        return typed_schema(self.path, self.format)[0], []

    def blocks(self, schema: Mapping[str, pl.DataType], rows: int) -> Iterator[pl.DataFrame]:
        return read_typed_blocks(self.path, self.format, list(schema), rows)


class _ArrowFile(_ParquetFile):
    format = "arrow"

    def read(self) -> tuple[pl.DataFrame, list[str]]:
        return read_arrow(self.path), []


class _NpzFile(TableFile):
    format = "npz"

    def read(self) -> tuple[pl.DataFrame, list[str]]:
        return read_npz(self.path), []

    def count_cells(self) -> int:
        return self.path.stat().st_size // 8


@dataclass(frozen=True, slots=True)
class _ImageFolder(TableFile):
    """A folder of images.

    Attributes:
        column: The name of the column of paths.
    """

    column: str = FOLDER_PATH
    format = "folder"

    def read(self) -> tuple[pl.DataFrame, list[str]]:
        frame, warnings = read_image_folder(self.path)
        return self._named(frame), warnings

    def count_cells(self) -> int:
        return count_images(self.path) * len(FOLDER_SCHEMA)

    def schema(self) -> tuple[pl.Schema, list[str]]:
        return self._named(pl.DataFrame(schema=FOLDER_SCHEMA)).schema, []

    def blocks(self, schema: Mapping[str, pl.DataType], rows: int) -> Iterator[pl.DataFrame]:
        yield self.read()[0].select(list(schema))

    def _named(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self.column == FOLDER_PATH:
            return frame
        return frame.drop(self.column, strict=False).rename({FOLDER_PATH: self.column})


class _LineFiles(TableFile):
    format = "lines"

    def read(self) -> tuple[pl.DataFrame, list[str]]:
        blocks = list(read_line_blocks(self.path, self.csv))
        return pl.concat(blocks, rechunk=True) if blocks else pl.DataFrame(), []

    def count_cells(self) -> int:
        files = files_of_path(self.path)
        first = _first_bytes(files[0])
        return len(files) * _scaled(files[0], first, first.count(b"\n"))

    def schema(self) -> tuple[pl.Schema, list[str]]:
        return pl.Schema(dict.fromkeys(line_columns(self.path, self.csv), pl.String())), []

    def blocks(self, schema: Mapping[str, pl.DataType], rows: int) -> Iterator[pl.DataFrame]:
        return read_line_blocks(self.path, self.csv, list(schema), rows)

    def line(self, row: int) -> int:
        return row + 1


FILE_CLASSES: dict[FileFormat, type[TableFile]] = {
    cls.format: cls
    for cls in (_CsvFile, _NdjsonFile, _ParquetFile, _ArrowFile, _NpzFile, _ImageFolder, _LineFiles)
}


def table_file(path: Path, data: Data) -> TableFile:
    """Return a file of a table, in the configured format or that of its extension.

    The paths of a folder of images are in the column of images, whatever its name.

    Raises:
        DataError: See `file_format`.
    """
    file = FILE_CLASSES[file_format(path, data.format)](path, data.csv)
    images = image_columns(data)
    return replace(file, column=images[0]) if isinstance(file, _ImageFolder) and images else file


def _first_bytes(path: Path) -> bytes:
    return next(read_chunks(path), b"")[:_FIRST_BYTES]


def _scaled(path: Path, first: bytes, cells: int) -> int:
    """Return the estimated cells of a text file, given those in its first bytes."""
    if not first:
        return 0
    ratio = 1 if detect_compression(path) is None else _COMPRESSION_RATIO
    return cells * max(path.stat().st_size * ratio, len(first)) // len(first)
