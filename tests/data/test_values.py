from __future__ import annotations

from datetime import date, time, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.values import column_blocks, level_text, number_matrix, parse_booleans, to_text


def numbers(values, dtype=None):
    found = number_matrix(pl.DataFrame({"x": pl.Series(values, dtype=dtype)}), ["x"])[:, 0]
    return [None if value != value else value for value in found.tolist()]


def test_numbers_in_text():
    inf = float("inf")
    found = numbers(["1e-3", "+5", "-.5", "5.", "inf", "1e999", "abc", "1_000", "0x1", "nan", None])
    assert found == [0.001, 5, -0.5, 5, inf, inf, None, None, None, None, None]


@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_numbers_round_trip_as_text(values):
    assert numbers([repr(value) for value in values]) == values


def test_numeric_types():
    assert numbers([1, None, 255], pl.UInt8) == [1, None, 255]
    assert numbers([True, False, None]) == [1, 0, None]
    assert numbers([1.5, float("nan")]) == [1.5, None]
    assert numbers([timedelta(seconds=90, microseconds=5), None]) == [90.000005, None]
    assert numbers([time(1, 0, 1)]) == [3601]
    assert numbers([date(2024, 1, 1)]) == [None]


def test_numeric_columns_as_text():
    assert to_text(pl.Series([1.0, 2.5, -0.0, None, float("nan")])).to_list() == [
        "1", "2.5", "0", None, None,
    ]  # fmt: skip
    assert to_text(pl.Series([True, None])).to_list() == ["true", None]
    assert level_text(pl.Series(["1.0", "1", None])).to_list() == ["1", "1", None]


def test_booleans():
    words = pl.Series("b", ["TRUE", "no", "1", "y", "maybe", None])
    assert parse_booleans(words, accept_marks=True).to_list() == [
        True,
        False,
        True,
        True,
        None,
        None,
    ]
    assert parse_booleans(words, accept_marks=False).to_list() == [
        True,
        False,
        None,
        None,
        None,
        None,
    ]
    assert parse_booleans(pl.Series("b", [1.0, 0.0, 2.0]), accept_marks=True).to_list() == [
        True,
        False,
        None,
    ]


def test_column_blocks_cover_all_columns():
    names = [str(index) for index in range(10)]
    assert list(column_blocks(names, 10**9)) == [[name] for name in names]
    assert list(column_blocks(names, 1)) == [names]
