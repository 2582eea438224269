"""Read the rows of all files in batches, for tables that do not fit into memory.

A batch has the same cells as in `tables.read_table`: text formats as text, others with the same column
types in all files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from trainer.config.data import Csv, Data, NamedSources
from trainer.data.csv_files import read_csv_blocks, read_csv_header
from trainer.data.ndjson_files import conform_to_schema, ndjson_schema, read_ndjson_blocks
from trainer.data.sources import Format, expand_sources, file_format
from trainer.data.tables import (
    SourceFile,
    Table,
    cast_columns,
    common_columns,
    files_by_split,
    sha256,
)
from trainer.data.typed_files import read_typed_blocks, typed_schema
from trainer.errors import DataError, Problem

BATCH_ROWS = 1 << 18
"""Maximum number of rows of a batch."""

BATCH_CELLS = 1 << 23
"""Maximum number of cells of a batch of more than one row."""


def batch_rows(width: int) -> int:
    """Return the number of rows of a batch with this many columns."""
    return max(1, min(BATCH_ROWS, BATCH_CELLS // max(1, width)))


@dataclass(frozen=True)
class Stream:
    """All rows of all files, on disk.

    Attributes:
        header: Every column with its type, and no row.
        parts: (split code, path) of each file, in the order of the rows.
        named: Whether the files are named by split.
    """

    header: Table
    parts: tuple[tuple[int, Path], ...]
    named: bool

    @property
    def in_memory(self) -> bool:
        return False

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield some columns of all rows in batches, each after the number of its first row.

        Raises:
            DataError: If a file is damaged; gives the location.
        """
        start = 0
        for index in range(len(self.parts)):
            for frame in self._file(index, columns):
                yield start, frame
                start += frame.height

    def read_columns(self, columns: Sequence[str]) -> Table:
        """Read some columns of all rows, with integers in the smallest type.

        Raises:
            DataError: If files are empty or damaged; lists all problems.
        """
        frames: list[pl.DataFrame] = []
        files: list[SourceFile] = []
        problems: list[Problem] = []
        schema = self._types(columns)
        for index, (_, path) in enumerate(self.parts):
            rows = 0
            try:
                for frame in self._file(index, columns):
                    rows += frame.height
                    frames.append(frame)
            except DataError as error:
                problems += error.problems
                continue
            if rows == 0:
                expected, fix = "a table with rows", "check data.source"
                problems.append(Problem(str(path), expected, "no rows", fix))
            files.append(SourceFile(str(path), path.stat().st_size, rows, sha256(path)))
        if problems:
            raise DataError(problems)
        joined = pl.concat([pl.DataFrame(schema=schema), *frames], rechunk=True)
        named = None
        if self.named:
            splits = np.array([split for split, _ in self.parts], dtype=np.int8)
            named = np.repeat(splits, [file.rows for file in files])
        shrunk = [series.shrink_dtype() if series.dtype.is_integer() else series
                  for series in joined]  # fmt: skip
        return replace(
            self.header, frame=pl.DataFrame(shrunk), files=tuple(files), source_splits=named
        )

    def _types(self, columns: Sequence[str]) -> dict[str, pl.DataType]:
        schema = self.header.frame.schema
        return {name: schema[name] for name in columns}

    def _file(self, index: int, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        kind, path = self.header.formats[index], self.parts[index][1]
        types = self._types(columns)
        rows = batch_rows(len(columns))
        for frame in _blocks(path, kind, self.header.csv, types, rows):
            typed = cast_columns(frame, types)
            for start in range(0, frame.height, rows):
                yield typed.slice(start, rows)


def open_stream(data: Data) -> Stream:
    """Read the format, columns and types of every file of `data.source`.

    Raises:
        DataError: If a file is missing, unreadable or damaged, cannot be read in parts, or has other
            columns than the first file; lists all problems.
    """
    parts: list[tuple[int, Path]] = []
    problems: list[Problem] = []
    for split, sources in files_by_split(data.source):
        found, source_problems = expand_sources(sources)
        problems += source_problems
        parts += [(split, path) for path in found]
    if problems:
        raise DataError(problems)
    formats: list[Format] = []
    schemas: list[pl.Schema] = []
    warnings: list[str] = []
    for _, path in parts:
        try:
            kind = file_format(path, data.format)
            schema, notes = _schema(path, kind, data.csv)
        except DataError as error:
            problems += error.problems
            continue
        except OSError as error:
            message = error.strerror or str(error)
            problems.append(Problem(str(path), "a readable file", message))
            continue
        formats.append(kind)
        schemas.append(schema)
        warnings += notes
    if problems:
        raise DataError(problems)
    files = tuple(SourceFile(str(path), path.stat().st_size, 0, "") for _, path in parts)
    frame = common_columns([pl.DataFrame(schema=schema) for schema in schemas], files)
    header = Table(frame, files, None, data.csv, tuple(formats), tuple(warnings))
    return Stream(header, tuple(parts), isinstance(data.source, NamedSources))


def _schema(path: Path, kind: Format, csv: Csv) -> tuple[pl.Schema, list[str]]:
    match kind:
        case "csv":
            names, notes = read_csv_header(path, csv)
            return pl.Schema(dict.fromkeys(names, pl.String())), notes
        case "ndjson":
            # Any line can have other names.
            return pl.Schema(ndjson_schema(read_ndjson_blocks(path))), []
        case "parquet" | "arrow":
            schema, _ = typed_schema(path, kind)
            if not schema:
                expected, fix = "a table with rows", "check data.source"
                raise DataError(Problem(str(path), expected, "no columns", fix))
            return schema, []
        case "npz":
            fix = "save it as Parquet, or set runtime.engine to resident"
            found = "an NPZ archive, whose arrays must be read as a whole"
            raise DataError(Problem(str(path), "a file that can be read in parts", found, fix))


def _blocks(
    path: Path, kind: Format, csv: Csv, schema: Mapping[str, pl.DataType], rows: int
) -> Iterator[pl.DataFrame]:
    match kind:
        case "csv":
            yield from read_csv_blocks(path, csv, list(schema))
        case "ndjson":
            for frame in read_ndjson_blocks(path):
                yield conform_to_schema(frame, schema)
        case "parquet" | "arrow":
            yield from read_typed_blocks(path, kind, list(schema), rows)
        case "npz":
            raise AssertionError(kind)
