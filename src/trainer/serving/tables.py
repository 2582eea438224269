"""CSV and Arrow bodies, read by the readers of files and with their messages."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Literal

import polars as pl

from trainer.config.data import Csv
from trainer.data.csv_files import read_csv
from trainer.data.typed_files import read_arrow
from trainer.data.values import is_date_type, is_nested
from trainer.errors import DataError, Problem
from trainer.serving.problems import RequestError, RequestProblem, refuse

_NAME = "body"
_DAMAGED = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""Damaged values raise these when they are first used; a panic is no `Exception`."""
_MAX_TEXT = 2**28
"""Most bytes of all texts of a table. In Arrow, many cells can share one long text."""


def read_table(body: bytes, form: Literal["csv", "arrow"]) -> pl.DataFrame:
    """Return the rows of a body; dates are text.

    Raises:
        RequestError: The body is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="trainer-serve-") as folder:
        path = Path(folder) / _NAME
        path.write_bytes(body)
        try:
            frame = read_csv(path, Csv())[0] if form == "csv" else read_arrow(path)
        except DataError as error:
            problems = [_without_path(problem, path) for problem in error.problems]
            raise RequestError(400, problems) from None
        try:
            # Files are mapped into memory, and are removed with the folder.
            return _plain(frame)
        except _DAMAGED as error:
            found = str(error).splitlines()[0][:100]
            raise refuse(400, "a table with values that can be read", found) from None


def _without_path(problem: Problem, path: Path) -> RequestProblem:
    """Return the problem of a request for that of a file: `/tmp/…/body:3` is line 3."""
    line = re.fullmatch(rf"{re.escape(str(path))}:(\d+)", problem.where)
    place = f" in line {line[1]}" if line else ""
    texts = [problem.expected + place, problem.found, problem.fix]
    expected, found, fix = (text.replace(str(path), "the body") for text in texts)
    return RequestProblem(expected, found, fix)


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    problems = [
        RequestProblem("single values", "lists, objects or bytes", "", name)
        for name, dtype in frame.schema.items()
        if is_nested(dtype)
    ]
    if problems:
        raise RequestError(422, problems)
    # Categories share one text between many cells.
    texts = [series for series in frame if series.dtype in (pl.String, pl.Categorical, pl.Enum)]
    size = sum(_text_bytes(series) for series in texts)
    if size > _MAX_TEXT:
        expected = f"texts of at most {_MAX_TEXT // 2**20:,} MiB in all"
        raise RequestError(413, [RequestProblem(expected, f"{size // 2**20:,} MiB")])
    return frame.with_columns(
        [
            pl.col(name).cast(pl.String)
            for name, dtype in frame.schema.items()
            if is_date_type(dtype) or dtype in (pl.Categorical, pl.Enum)
        ]
    )


def _text_bytes(series: pl.Series) -> int:
    return int(series.cast(pl.String).str.len_bytes().sum())
