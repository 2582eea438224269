"""Tables that a caller holds in memory: a polars or pandas frame, columns, or rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trainer.config.data import Csv
from trainer.data.tables import SourceFile, Table
from trainer.data.typed_files import normalize_types
from trainer.errors import DataError, Problem

NAME = "frame"
_KINDS = "a polars or pandas DataFrame, a dict of columns, or a list of dicts, one per row"


def table_in_memory(data: object) -> Table:
    """Return data in memory as a table with normalized types, like that of a Parquet file.

    Args:
        data: A polars or pandas DataFrame, a mapping from names to columns of the same length, or a
            sequence of mappings from names to values, one per row; a name that a row lacks is a
            missing value.

    Raises:
        DataError: If it is something else, or a column cannot be read.
    """
    frame = normalize_types(Path(NAME), _as_frame(data))
    file = SourceFile(NAME, 0, frame.height, "")
    return Table(frame, (file,), None, Csv(), ("arrow",))


def _as_frame(data: object) -> pl.DataFrame:
    if isinstance(data, pl.DataFrame):
        return data
    if type(data).__module__.split(".")[0] == "pandas" and hasattr(data, "columns"):
        return _from_columns({str(name): _pandas_column(data[name]) for name in data.columns})  # type: ignore[index]
    if isinstance(data, Mapping):
        return _from_columns({str(name): column for name, column in data.items()})
    if isinstance(data, Sequence) and all(isinstance(row, Mapping) for row in data):
        names = dict.fromkeys(name for row in data for name in row)
        return _from_columns({str(name): [row.get(name) for row in data] for name in names})
    raise DataError(Problem(NAME, _KINDS, f"a value of type {type(data).__name__}"))


def _from_columns(columns: Mapping[str, Any]) -> pl.DataFrame:
    problems, series = [], []
    for name, column in columns.items():
        try:
            series.append(pl.Series(name, column, strict=False))
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
            expected, found = f"a column of values in '{name}'", str(error).splitlines()[0]
            problems.append(Problem(NAME, expected, found))
    lengths = {column.name: len(column) for column in series}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"'{name}' {length:,}" for name, length in lengths.items())
        problems.append(Problem(NAME, "columns with the same number of rows", found))
    if problems:
        raise DataError(problems)
    return pl.DataFrame(series)


def _pandas_column(column: Any) -> Any:
    """Return the values of a pandas Series; does not import pandas, which may not be installed."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufmM":
        return column.to_numpy()
    # Text, categories and nullable types mark missing values by NaN or NA.
    return column.astype(object).where(column.notna(), None).tolist()
