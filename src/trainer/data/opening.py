"""Open a table: its rows in memory are a stream of one batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from trainer.config.data import Data, NamedSources
from trainer.config.images import image_columns
from trainer.data.arrays import RowIndex
from trainer.data.image_paths import with_image_paths
from trainer.data.parallel_paths import bytes_of_path
from trainer.data.pseudonyms import Pseudonyms
from trainer.data.sources import expand_sources, files_by_split
from trainer.data.streams import Stream
from trainer.data.table_files import TableFile, table_file
from trainer.data.tables import SourceFile, Table, common_columns, join_frames, split_of_rows
from trainer.errors import DataError, Problem


@dataclass(frozen=True)
class RowsInMemory:
    """All rows of all files, as one batch."""

    table: Table

    @property
    def header(self) -> Table:
        """Every column with its type; with all rows, which its users ignore."""
        return self.table

    @property
    def in_memory(self) -> bool:
        return True

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield some columns of all rows, after the number of the first row."""
        yield 0, self.table.frame.select(columns)

    def read_columns(self, columns: Sequence[str]) -> Table:
        """Return all columns, as they are in memory anyway."""
        return self.table


Rows = RowsInMemory | Stream


def open_table(data: Data, *, streamed: bool) -> Rows:
    """Open the files of `data.source`.

    Args:
        data: The `data` section.
        streamed: Whether to leave the rows on disk and read them in batches.

    Raises:
        DataError: If a file is missing, empty, unreadable or damaged, has different columns from the
            first file, or cannot be streamed; lists all problems.
    """
    parts = _find_files(data)
    images = tuple(image_columns(data))
    pseudonyms = Pseudonyms.from_settings(data)
    frames: list[pl.DataFrame] = []
    opened: list[TableFile] = []
    files: list[SourceFile] = []
    warnings: list[str] = []
    problems: list[Problem] = []
    for _, path in parts:
        try:
            file = table_file(path, data)
            frame, notes = _read(file, streamed=streamed)
            frame = pseudonyms.apply(frame, str(path))
        except DataError as error:
            problems += error.problems
            continue
        except OSError as error:
            problems.append(Problem(str(path), "a readable file", error.strerror or str(error)))
            continue
        frames.append(with_image_paths(frame, file, images))
        opened.append(file)
        warnings += pseudonyms.without_values(notes)
        unread = SourceFile(str(path), bytes_of_path(path), 0, "")
        files.append(unread if streamed else SourceFile.from_path(path, frame.height))
    if problems:
        raise DataError(problems)
    splits = tuple(split for split, _ in parts) if isinstance(data.source, NamedSources) else None
    header = Table(
        frame=common_columns(frames, files) if streamed else join_frames(frames, files),
        files=tuple(files),
        source_splits=None if streamed else split_of_rows(splits, files),
        csv=data.csv,
        formats=tuple(file.format for file in opened),
        warnings=(*pseudonyms.warnings(), *warnings),
    )
    if not streamed:
        return RowsInMemory(header)
    return Stream(header, tuple(opened), splits, images, pseudonyms)


def _find_files(data: Data) -> list[tuple[int, Path]]:
    """Return the split code and path of each file.

    Raises:
        DataError: If files are missing; lists all problems.
    """
    paths: list[tuple[int, Path]] = []
    problems: list[Problem] = []
    for split, sources in files_by_split(data.source):
        found, source_problems = expand_sources(sources)
        problems += source_problems
        paths += [(split, path) for path in found]
    if problems:
        raise DataError(problems)
    return paths


def _read(file: TableFile, *, streamed: bool) -> tuple[pl.DataFrame, list[str]]:
    """Return all rows of a file, or its columns without rows; and warnings."""
    if streamed:
        schema, notes = file.schema()
        frame = pl.DataFrame(schema=schema)
    else:
        frame, notes = file.read()
    if frame.width == 0 or (frame.height == 0 and not streamed):
        found = "no rows" if frame.width else "no columns"
        raise DataError(
            Problem(str(file.path), "a table with rows", found, "name a file with rows")
        )
    return frame, notes


def gather_rows(source: Rows, columns: Sequence[str], rows: RowIndex) -> pl.DataFrame:
    """Return some rows, given by ascending numbers, in one pass over the batches.

    Raises:
        DataError: If a file of a stream is damaged.
    """
    parts = []
    for start, frame in source.batches(columns):
        first, last = np.searchsorted(rows, (start, start + frame.height))
        parts.append(frame if last - first == frame.height else frame[rows[first:last] - start])
    return pl.concat(parts, rechunk=True)
