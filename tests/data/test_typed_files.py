from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from trainer.config.data import Data
from trainer.data.ndjson_files import NESTED
from trainer.data.nested_columns import nested_problem
from trainer.data.opening import open_table
from trainer.data.typed_files import read_arrow, read_npz, read_parquet
from trainer.errors import DataError


@pytest.fixture
def typed() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "i": pl.Series([1, None], dtype=pl.UInt8),
            "f": [1.5, None],
            "d": pl.Series([Decimal("1.25"), None]),
            "b": [True, None],
            "s": [" x ", ""],
            "c": pl.Series(["lo", None], dtype=pl.Categorical),
            "e": pl.Series(["p", None], dtype=pl.Enum(["p", "q"])),
            "day": [date(2024, 1, 1), None],
            "span": [timedelta(seconds=90), None],
            "clock": [time(1, 0), None],
            "n": [None, None],
        }
    )


def test_types_are_normalized(tmp_path, typed):
    typed.write_parquet(tmp_path / "x.parquet")
    frame = read_parquet(tmp_path / "x.parquet")
    assert frame.row(0) == (
        1,
        1.5,
        1.25,
        True,
        "x",
        "lo",
        "p",
        date(2024, 1, 1),
        timedelta(seconds=90),
        time(1, 0),
        None,
    )
    assert frame.row(1) == (None,) * 11


def test_arrow_files_and_streams(tmp_path, typed):
    typed.write_parquet(tmp_path / "x.parquet")
    expected = read_parquet(tmp_path / "x.parquet")
    typed.write_ipc(tmp_path / "x.arrow")
    typed.write_ipc_stream(tmp_path / "y.arrow")
    assert read_arrow(tmp_path / "x.arrow").equals(expected)
    assert read_arrow(tmp_path / "y.arrow").equals(expected)


def test_npz_flattens_arrays(tmp_path):
    pictures = np.arange(12).reshape(2, 2, 3)
    np.savez(tmp_path / "x.npz", p=pictures, y=np.array(["a", "b"]), h=np.float16([1, 2]))
    frame = read_npz(tmp_path / "x.npz")
    assert frame.columns == ["p.0", "p.1", "p.2", "p.3", "p.4", "p.5", "y", "h"]
    assert frame.row(1) == (6, 7, 8, 9, 10, 11, "b", 2.0)


def test_npz_ignores_arrays_that_are_not_columns(tmp_path):
    np.savez(
        tmp_path / "x.npz",
        x=np.arange(6).reshape(3, 2),
        y=np.array(["a", "b", "c"]),
        objects=np.array([{}, {}, {}]),
        complex=np.zeros(3, dtype=complex),
        names=np.array(["one", "two"]),
        version=np.array(3),
    )
    frame = read_npz(tmp_path / "x.npz")
    assert frame.columns == ["x.0", "x.1", "y", "objects", "complex", "names"]
    assert frame.schema["objects"] == frame.schema["complex"] == frame.schema["names"] == NESTED
    assert frame["x.1"].to_list() == [1, 3, 5]
    data = Data(source=str(tmp_path / "x.npz"), target="y")
    table = open_table(data, streamed=False).header
    problem = nested_problem(table, "names", NESTED)
    assert "an array that does not have one number" in problem.found


def test_npz_without_table_raises(tmp_path):
    np.savez(tmp_path / "x.npz", b=np.zeros(3), c=np.zeros(2))
    with pytest.raises(DataError, match=r"the same number of rows, found 'b' 3, 'c' 2"):
        read_npz(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", a=np.array([{}, {}]), b=np.array(3))
    with pytest.raises(DataError, match=r"found only 'a'"):
        read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("read", [read_parquet, read_arrow, read_npz])
@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"PAR1garbage", b"ARROW1garbage", b"PK\x03\x04x"]
)
def test_damaged_files(tmp_path, read, content):
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match="something else, or a damaged"):
        read(path)
