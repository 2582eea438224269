from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.spellings import canonical_level, natural_sort


@pytest.mark.parametrize(
    ("label", "expected"),
    [("1.0", "1"), ("1.", "1"), ("+1", "1"), ("-2.00", "-2"), ("-0.0", "0"), ("01", "01"),
     ("1.5", "1.5"), ("a", "a"), ("", ""), ("1e3", "1e3"), ("10", "10")],
)  # fmt: skip
def test_canonical_level(label, expected):
    assert canonical_level(label) == expected


def test_natural_sort():
    assert natural_sort(["10", "9", "-1.5"]) == ["-1.5", "9", "10"]
    assert natural_sort(["b10", "B9", "a"]) == ["a", "B9", "b10"]
    assert natural_sort(["1", "a", "nan", ""]) == sorted(["", "1", "a", "nan"])


@given(st.lists(st.text(), max_size=20, unique=True), st.randoms())
def test_natural_sort_is_a_total_order(labels, random):
    shuffled = labels.copy()
    random.shuffle(shuffled)
    assert natural_sort(labels) == natural_sort(shuffled)


def test_natural_sort_of_numbers_with_thousands_of_digits():
    longer, shorter = "a" + "2" * 5000, "a" + "9" * 4999
    assert natural_sort([longer, "a10", shorter, "a09"]) == ["a09", "a10", shorter, longer]
