"""A table: the rows of all files, in the order of the files and their rows.

Text formats (CSV, NDJSON, parallel text files) are read with every cell as text, so that rows are parsed
independently of each other; Parquet, Arrow and NPZ keep their types. Missing values are null.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from trainer.config.data import Csv
from trainer.config.file_formats import FileFormat
from trainer.config.images import FOLDER_PATH
from trainer.data.arrays import Assignment
from trainer.data.image_folders import folder_fingerprint
from trainer.data.ndjson_files import NESTED, as_nested
from trainer.data.parallel_paths import bytes_of_path, files_of_path
from trainer.data.table_files import FILE_CLASSES
from trainer.data.values import is_nested, number_expr
from trainer.errors import DataError, Problem, did_you_mean


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A source file.

    Attributes:
        path: The path, as in the config.
        bytes: Size in bytes.
        rows: Number of data rows.
        sha256: SHA-256 of its bytes, in hexadecimal; for a folder, a hash of the names and sizes of its
            images; for parallel files, of their hashes.
    """

    path: str
    bytes: int
    rows: int
    sha256: str

    @classmethod
    def from_path(cls, path: Path, rows: int) -> SourceFile:
        """Return a file with its size and hash."""
        if path.is_dir():
            size, sha256 = folder_fingerprint(path)
            return cls(str(path), size, rows, sha256)
        hashes = [_sha256(file) for file in files_of_path(path)]
        sha256 = (
            hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        )
        return cls(str(path), bytes_of_path(path), rows, sha256)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Table:
    """All rows of all files.

    Attributes:
        frame: Every column; row i is source row i.
        files: The files, in the order of the rows.
        source_splits: Split code of each row (int8) if files are named by split, otherwise None.
        csv: The CSV settings.
        formats: The format of each file.
        warnings: Warnings about the files.
    """

    frame: pl.DataFrame
    files: tuple[SourceFile, ...]
    source_splits: Assignment | None
    csv: Csv
    formats: tuple[FileFormat, ...]
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the table for messages: its first file, and the number of others."""
        more = len(self.files) - 1
        return self.files[0].path + (f" (and {more} more)" if more else "")

    def with_location(self, problems: Iterable[Problem]) -> list[Problem]:
        """Return the problems, with the table as the location of those without one.

        Problems with a setting are unchanged: the loader of the config knows the setting's location.
        """
        return [
            problem.at(self.name)
            if not problem.where and problem.key in ("", "data.target")
            else problem
            for problem in problems
        ]

    def where(self, row: int) -> str:
        """Return the location of a source row, for messages: `x.csv:17`, `x.parquet row 16`.

        Lines count from 1, including the header; rows of formats without lines count from 1. A row of a
        folder of images is the path of its image.
        """
        if "folder" in self.formats and FOLDER_PATH in self.frame.columns:
            return str(self.frame[FOLDER_PATH][row])
        for file, kind in zip(self.files, self.formats, strict=True):
            if row < file.rows:
                line = FILE_CLASSES[kind](Path(file.path), self.csv).line(row)
                return f"{file.path} row {row + 1}" if line is None else f"{file.path}:{line}"
            row -= file.rows
        raise IndexError(row)


def split_of_rows(splits: Sequence[int] | None, files: Sequence[SourceFile]) -> Assignment | None:
    """Return the split code of each row, given that of each file; None without them."""
    if splits is None:
        return None
    return np.repeat(np.array(splits, dtype=np.int8), [file.rows for file in files])


def join_frames(frames: Sequence[pl.DataFrame], files: Sequence[SourceFile]) -> pl.DataFrame:
    """Return the rows of all files, with the common column types.

    Raises:
        DataError: If a file has different columns from the first.
    """
    if len(frames) == 1:
        return frames[0]
    empty_table = common_columns(frames, files)
    return pl.concat([cast_columns(frame, empty_table.schema) for frame in frames], rechunk=True)


def common_columns(frames: Sequence[pl.DataFrame], files: Sequence[SourceFile]) -> pl.DataFrame:
    """Return an empty frame with the common column types of some files.

    Args:
        frames: One frame per file; their rows are not used.
        files: The files, for messages.

    Raises:
        DataError: If a file has different columns from the first.
    """
    first = frames[0]
    schemas = [frame.schema for frame in frames]
    problems = []
    for schema, file in zip(schemas[1:], files[1:], strict=True):
        missing = [name for name in schemas[0] if name not in schema]
        extra = [name for name in schema if name not in schemas[0]]
        problems += [
            Problem(
                file.path,
                f"the columns of {files[0].path}, with '{name}'",
                f"no column '{name}'",
                did_you_mean(name, extra, "use the same columns in every file"),
            )
            for name in missing[:10]
        ]
        problems += [
            Problem(
                file.path,
                f"the columns of {files[0].path}",
                f"another column '{name}'",
                "use the same columns in every file",
            )
            for name in extra[:10]
            if not missing
        ]
    if problems:
        raise DataError(problems)
    if len(frames) == 1:
        return first.clear()
    return pl.DataFrame(
        schema={name: _shared_type([schema[name] for schema in schemas]) for name in schemas[0]}
    )


def cast_columns(frame: pl.DataFrame, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return the columns in `types`, in its order and cast to its types."""
    schema = frame.schema
    return frame.select(_as_type(name, schema[name], types[name]) for name in types)


def _shared_type(types: list[pl.DataType]) -> pl.DataType:
    """Return a common type for a column whose type differs between files; text for mixed types."""
    known = [dtype for dtype in types if dtype != pl.Null]
    distinct = list(dict.fromkeys(known))
    if not distinct:
        return pl.String()
    if len(distinct) == 1:
        return distinct[0]
    if any(is_nested(dtype) for dtype in distinct):
        return NESTED
    if all(dtype.is_integer() for dtype in distinct):
        return pl.Int64()
    if all(dtype == pl.Duration for dtype in distinct):
        return pl.Duration("us")
    if all(dtype.is_numeric() or dtype in (pl.Duration, pl.Time) for dtype in distinct):
        return pl.Float64()
    return pl.String()


def _as_type(name: str, dtype: pl.DataType, target: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == target or is_same_dtype(dtype, target):
        return column
    if target == NESTED and dtype == pl.String:
        return as_nested(name)
    if is_nested(target):
        # Such a column cannot be used, so that its content does not matter.
        return pl.lit(None, dtype=target).alias(name)
    if target == pl.String and isinstance(dtype, pl.Datetime):
        return column.dt.to_string("iso:strict")
    if dtype in (pl.Duration, pl.Time) and target in (pl.Float64, pl.String):
        return number_expr(name, dtype).cast(target)
    return column.cast(target, strict=False)


def is_same_dtype(left: pl.DataType, right: pl.DataType) -> bool:
    """Return whether two types are equal, including their parameters."""
    return type(left) is type(right) and left == right
