"""Problems of the Parquet files of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from trainer.errors import Problem, RunError


@contextmanager
def parquet_errors(path: Path, expected: str) -> Iterator[None]:
    """Context manager that reports that a file cannot be read, or has other columns or values.

    Args:
        path: The file, for the message.
        expected: What it has.

    Raises:
        RunError: The file is damaged.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        found = str(error).splitlines()[0]
        fix = "restore the file from a copy of the run"
        raise RunError(Problem(str(path), expected, found, fix)) from error
