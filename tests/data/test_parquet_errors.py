"""Damaged Parquet files of a run."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest

from trainer.data.parquet_errors import parquet_errors
from trainer.errors import RunError


def parquet() -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({"row": [1, 2]}).write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "column"),
    [(b"", "row"), (b"no table", "row"), (parquet()[:-20], "row"), (parquet(), "label")],
)
def test_damaged_files_are_named(content: bytes, column: str) -> None:
    path = Path("predictions/test.parquet")
    with pytest.raises(RunError) as caught, parquet_errors(path, "predictions of the run"):
        pl.read_parquet(io.BytesIO(content)).select(column)
    (problem,) = caught.value.problems
    assert problem.where == str(path)
    assert problem.expected == "predictions of the run"
    assert problem.found
    assert "\n" not in problem.found


def test_other_errors_are_raised() -> None:
    with pytest.raises(KeyError), parquet_errors(Path("test.parquet"), "predictions of the run"):
        raise KeyError("row")
