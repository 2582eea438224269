from __future__ import annotations

from datetime import date, time, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.values import (
    canonical_level,
    column_blocks,
    level_text,
    natural_sort,
    number_matrix,
    parse_booleans,
    to_text,
)


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


@pytest.mark.parametrize(
    ("label", "expected"),
    [("1.0", "1"), ("1.", "1"), ("+1", "1"), ("-2.00", "-2"), ("-0.0", "0"), ("01", "01"),
     ("1.5", "1.5"), ("a", "a"), ("", ""), ("1e3", "1e3"), ("10", "10")],
)  # fmt: skip
def test_canonical_level(label, expected):
    assert canonical_level(label) == expected


def test_numeric_columns_as_text():
    assert to_text(pl.Series([1.0, 2.5, -0.0, None, float("nan")])).to_list() == [
        "1", "2.5", "0", None, None,
    ]  # fmt: skip
    assert to_text(pl.Series([True, None])).to_list() == ["true", None]
    assert level_text(pl.Series(["1.0", "1", None])).to_list() == ["1", "1", None]


def test_natural_sort():
    assert natural_sort(["10", "9", "-1.5"]) == ["-1.5", "9", "10"]
    assert natural_sort(["b10", "B9", "a"]) == ["a", "B9", "b10"]
    assert natural_sort(["1", "a", "nan", ""]) == sorted(["", "1", "a", "nan"])


@given(st.lists(st.text(), max_size=20, unique=True), st.randoms())
def test_natural_sort_is_a_total_order(labels, random):
    shuffled = labels.copy()
    random.shuffle(shuffled)
    assert natural_sort(labels) == natural_sort(shuffled)


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


def test_natural_sort_of_numbers_with_thousands_of_digits():
    longer, shorter = "a" + "2" * 5000, "a" + "9" * 4999
    assert natural_sort([longer, "a10", shorter, "a09"]) == ["a09", "a10", shorter, longer]
