from __future__ import annotations

import hashlib
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from trainer.config.data import Data, NamedSources
from trainer.data.opening import open_table
from trainer.errors import DataError


def read(source, **settings):
    configured = source if isinstance(source, NamedSources | list) else str(source)
    return open_table(Data(source=configured, target="y", **settings), streamed=False).header


def problems(source, **settings):
    with pytest.raises(DataError) as caught:
        read(source, **settings)
    return caught.value.problems


def test_globs_are_sorted_and_column_order_can_differ(tmp_path):
    (tmp_path / "b.csv").write_text("y,x\n3,c\n")
    (tmp_path / "a.csv").write_text("x,y\na,1\nb,2\n")
    table = read(f"{tmp_path}/*.csv")
    assert table.frame.rows() == [("a", "1"), ("b", "2"), ("c", "3")]
    assert [file.rows for file in table.files] == [2, 1]
    assert table.files[0].sha256 == hashlib.sha256((tmp_path / "a.csv").read_bytes()).hexdigest()
    assert table.files[0].bytes == 12
    assert table.where(2) == f"{tmp_path}/b.csv:2"
    assert table.where(1) == f"{tmp_path}/a.csv:3"


def test_named_splits(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("x,y\n1,2\n3,4\n")
    named = NamedSources(train=f"{tmp_path}/train.csv", test=[f"{tmp_path}/test.csv"])
    table = read(named)
    assert np.array_equal(table.source_splits, [0, 0, 2, 2])


def test_types_that_differ_between_files(tmp_path):
    pl.DataFrame({"a": [1, 2], "b": [1, 2], "c": [True, False]}).write_parquet(
        tmp_path / "1.parquet"
    )
    pl.DataFrame({"a": [1.5], "b": ["x"], "c": ["yes"]}).write_parquet(tmp_path / "2.parquet")
    frame = read(f"{tmp_path}/*.parquet").frame
    assert frame.rows() == [(1, "1", "true"), (2, "2", "false"), (1.5, "x", "yes")]


def test_all_file_problems_are_reported(tmp_path):
    (tmp_path / "x.csv").write_text("a\n1\n")
    (tmp_path / "odd.xlsx").write_text("a\n1\n")
    (tmp_path / "folder.csv").mkdir()
    reported = problems([
        f"{tmp_path}/y.csv", f"{tmp_path}/*.parquet", f"{tmp_path}/folder.csv",
        f"{tmp_path}/none/x.csv",
    ])  # fmt: skip
    assert [problem.found for problem in reported] == [
        "no such file",
        "no file",
        "an empty directory",
        "no such file",
    ]
    assert reported[0].fix == "did you mean 'x.csv'?"
    assert reported[3].fix == f"there is no directory {tmp_path}/none"
    assert problems(tmp_path / "odd.xlsx")[0].fix == "save the sheet as CSV"


def test_file_without_permission(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a\n1\n")
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        assert problems(path)[0].found == "no permission"
    else:
        pytest.skip("this user may read everything")


def test_columns_that_differ(tmp_path):
    (tmp_path / "a.csv").write_text("x,colour\n1,2\n")
    (tmp_path / "b.csv").write_text("x,color\n1,2\n")
    reported = problems(f"{tmp_path}/*.csv")
    assert (reported[0].found, reported[0].fix) == ("no column 'colour'", "did you mean 'color'?")


def test_header_only(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n")
    (problem,) = problems(tmp_path / "a.csv")
    assert (problem.found, problem.fix) == ("no rows", "name a file with rows")


def test_explicit_formats_and_names_with_glob_characters(tmp_path):
    path = tmp_path / "odd [1]"
    path.write_text("x,y\n1,2\n")
    assert read(path, format="csv").frame.height == 1


def test_durations_are_combined_with_numbers_as_seconds(tmp_path):
    spans = pl.Series([timedelta(seconds=90), None])
    pl.DataFrame({"a": spans, "b": spans, "c": spans}).write_parquet(tmp_path / "1.parquet")
    other = pl.DataFrame({"a": [1.5], "b": ["x"], "c": spans[:1].dt.cast_time_unit("ms")})
    other.write_parquet(tmp_path / "2.parquet")
    frame = read(f"{tmp_path}/*.parquet").frame
    assert frame["a"].to_list() == [90.0, None, 1.5]
    assert frame["b"].to_list() == ["90.0", None, "x"]
    assert frame["c"].to_list() == [timedelta(seconds=90), None, timedelta(seconds=90)]
