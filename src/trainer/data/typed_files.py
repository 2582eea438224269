"""Read Parquet, Arrow and NPZ files, which keep their types."""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from trainer.data.column_names import check_names
from trainer.data.ndjson_files import NESTED
from trainer.errors import DataError, Problem

_EXPECTED = {"parquet": "a Parquet file", "arrow": "an Arrow IPC file"}
_DAMAGED = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError)


def read_parquet(path: Path) -> pl.DataFrame:
    """Read a Parquet file, with normalized types.

    Raises:
        DataError: If it is not a Parquet file or is damaged.
    """
    try:
        frame = pl.read_parquet(path, glob=False)
    except _DAMAGED as error:
        raise _damaged(path, "a Parquet file", error) from error
    return normalize_types(path, frame)


def read_arrow(path: Path) -> pl.DataFrame:
    """Read an Arrow IPC file or stream, with normalized types.

    Raises:
        DataError: If it is not an Arrow file or is damaged.
    """
    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    try:
        frame = pl.read_ipc(path) if is_file else pl.read_ipc_stream(path)
    except _DAMAGED as error:
        raise _damaged(path, "an Arrow IPC file", error) from error
    return normalize_types(path, frame)


def read_npz(path: Path) -> pl.DataFrame:
    """Read the arrays of an NPZ file as columns.

    A 1-D array is one column; others are flattened, row by row, to `name.0`, `name.1`, …

    Arrays that do not contain numbers, text or dates, or whose length differs from that of most arrays,
    become empty columns of the type `NESTED`, which are rejected if used. Scalars are skipped.

    Raises:
        DataError: If the file is damaged, has no readable array, or most arrays have no common length.
    """
    where = str(path)
    columns: dict[str, Any] = {}
    lengths: dict[str, int] = {}
    unread: list[str] = []
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                fix = "save it with numpy.savez"
                raise DataError(Problem(where, "an NPZ archive", "a single array", fix))
            for name in arrays.files:
                try:
                    array = arrays[name]
                except ValueError:  # Python objects
                    unread.append(name)
                    continue
                if array.ndim == 0:
                    continue
                if array.dtype.kind not in "biufUSM":
                    unread.append(name)
                    continue
                lengths[name] = len(array)
                columns[name] = _array_columns(name, array)
    except (
        OSError,
        ValueError,
        EOFError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise _damaged(path, "an NPZ archive that fits into memory", error) from error
    return _joined_arrays(path, columns, lengths, unread)


def _joined_arrays(
    path: Path, columns: dict[str, Any], lengths: dict[str, int], unread: list[str]
) -> pl.DataFrame:
    counts = Counter(lengths.values()).most_common(2)
    if not counts:
        found = f"only {', '.join(map(repr, unread))}" if unread else "none"
        fix = "save arrays of numbers or of fixed-length text"
        raise DataError(Problem(str(path), "arrays of numbers, text or dates", found, fix))
    if len(counts) == 2 and counts[0][1] == counts[1][1]:
        found = ", ".join(f"'{name}' {length}" for name, length in lengths.items())
        fix = "save only the arrays of the table"
        raise DataError(Problem(str(path), "arrays with the same number of rows", found, fix))
    rows = counts[0][0]
    table: dict[str, Any] = {}
    for name, part in columns.items():
        if lengths[name] == rows:
            table |= part
        else:
            unread.append(name)
    table |= {name: pl.Series(name, [None] * rows, dtype=NESTED) for name in unread}
    return normalize_types(path, pl.DataFrame(table))


def _array_columns(name: str, array: np.ndarray[Any, Any]) -> dict[str, Any]:
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.ndim == 1:
        return {name: np.ascontiguousarray(array)}
    flat = np.ascontiguousarray(array.reshape(len(array), -1).T)
    return {f"{name}.{index}": flat[index] for index in range(len(flat))}


def scan_typed(path: Path, kind: Literal["parquet", "arrow"]) -> pl.LazyFrame:
    """Scan a Parquet or Arrow IPC file, to read it in parts.

    Raises:
        DataError: If it is an Arrow stream, which must be read as a whole.
    """
    if kind == "parquet":
        return pl.scan_parquet(path, glob=False)
    with path.open("rb") as file:
        if file.read(6) != b"ARROW1":
            fix = "save it as Parquet, or set runtime.engine to resident"
            found = "an Arrow stream, which must be read as a whole"
            raise DataError(Problem(str(path), "a file that can be read in parts", found, fix))
    return pl.scan_ipc(path, glob=False)


def typed_schema(path: Path, kind: Literal["parquet", "arrow"]) -> tuple[pl.Schema, int]:
    """Return the normalized column types and the number of rows, without reading the rows.

    Raises:
        DataError: If it is not such a file, is damaged, or is an Arrow stream.
    """
    try:
        scan = scan_typed(path, kind)
        rows = int(scan.select(pl.len()).collect().item())
        return normalize_types(path, pl.DataFrame(schema=scan.collect_schema())).schema, rows
    except _DAMAGED as error:
        raise _damaged(path, _EXPECTED[kind], error) from error


def read_typed_blocks(
    path: Path, kind: Literal["parquet", "arrow"], columns: Sequence[str], rows: int
) -> Iterator[pl.DataFrame]:
    """Read some columns as `read_parquet` and `read_arrow` do, `rows` rows at a time.

    Raises:
        DataError: If the file is damaged.
    """
    try:
        scan = scan_typed(path, kind).select(columns)
        height = int(scan.select(pl.len()).collect().item())
        for start in range(0, height, rows):
            yield normalize_types(path, scan.slice(start, rows).collect())
    except _DAMAGED as error:
        raise _damaged(path, _EXPECTED[kind], error) from error


def normalize_types(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    """Normalize column types: categories become stripped text, null if empty; decimals Float64.

    Raises:
        DataError: If a column has an invalid name.
    """
    check_names(path, frame.columns)
    changes = []
    for name, dtype in frame.schema.items():
        column = pl.col(name)
        if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null):
            texts = column.cast(pl.String).str.strip_chars()
            changes.append(pl.when(texts == "").then(None).otherwise(texts).alias(name))
        elif dtype == pl.Decimal or dtype in (pl.Int128, pl.Float16):
            changes.append(column.cast(pl.Float64))
    return frame.with_columns(changes) if changes else frame


def _damaged(path: Path, expected: str, error: BaseException) -> DataError:
    lines = str(error).strip().splitlines()
    found = (
        f"something else, or a damaged file ({lines[0][:120] if lines else type(error).__name__})"
    )
    return DataError(Problem(str(path), expected, found, "check the file, or set data.format"))
