"""Read the rows of all files in batches, for tables that do not fit into memory.

A batch has the same cells as in memory: text formats as text, others with the same column types in all
files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from trainer.data.image_paths import with_image_paths
from trainer.data.pseudonyms import Pseudonyms
from trainer.data.table_files import TableFile
from trainer.data.tables import SourceFile, Table, cast_columns, split_of_rows
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
        files: The files, in the order of the rows.
        splits: The split code of each file if they are named by split, otherwise None.
        images: The columns of image paths.
        pseudonyms: The columns that are pseudonymized.
    """

    header: Table
    files: tuple[TableFile, ...]
    splits: tuple[int, ...] | None
    images: tuple[str, ...] = ()
    pseudonyms: Pseudonyms = field(default_factory=Pseudonyms)

    @property
    def in_memory(self) -> bool:
        return False

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield some columns of all rows in batches, each after the number of its first row.

        Raises:
            DataError: If a file is damaged; gives the location.
        """
        start = 0
        for file in self.files:
            for frame in self._batches(file, columns):
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
        for file in self.files:
            rows = 0
            try:
                for frame in self._batches(file, columns):
                    rows += frame.height
                    frames.append(frame)
            except DataError as error:
                problems += error.problems
                continue
            if rows == 0:
                expected, fix = "a table with rows", "name a file with rows"
                problems.append(Problem(str(file.path), expected, "no rows", fix))
            files.append(SourceFile.from_path(file.path, rows))
        if problems:
            raise DataError(problems)
        joined = pl.concat([pl.DataFrame(schema=schema), *frames], rechunk=True)
        shrunk = [series.shrink_dtype() if series.dtype.is_integer() else series
                  for series in joined]  # fmt: skip
        return replace(
            self.header,
            frame=pl.DataFrame(shrunk),
            files=tuple(files),
            source_splits=split_of_rows(self.splits, files),
        )

    def _types(self, columns: Sequence[str]) -> dict[str, pl.DataType]:
        schema = self.header.frame.schema
        return {name: schema[name] for name in columns}

    def _batches(self, file: TableFile, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        types = self._types(columns)
        rows = batch_rows(len(columns))
        for frame in file.blocks(types, rows):
            hidden = self.pseudonyms.apply(frame, str(file.path))
            typed = with_image_paths(cast_columns(hidden, types), file, self.images)
            for start in range(0, frame.height, rows):
                yield typed.slice(start, rows)
