from __future__ import annotations

import polars as pl
import pytest

from trainer.data.message_lists import quoted, truncated


@pytest.mark.parametrize(
    ("words", "limit", "text"),
    [
        ([], 2, ""),
        (["a", "b"], 2, "'a', 'b'"),
        (["a", "b", "c"], 2, "'a', 'b' and 1 more"),
        ([str(number) for number in range(1236)], 2, "'0', '1' and 1,234 more"),
        (["a", "b", "c"], None, "'a', 'b', 'c'"),
    ],
)
def test_quoted_names(words, limit, text):
    assert quoted(words, limit) == text


def test_truncated_lines():
    lines = [f"line {number}" for number in range(7)]
    assert truncated(lines, "columns") == [*lines[:5], "and 2 more columns"]
    assert truncated(lines[:5], "columns") == lines[:5]


def test_wide_table_of_formatted_numbers_has_few_warnings(prepare_frame):
    frame = {f"m{number}": [f"${1000 + row * (number + 1):,}" for row in range(40)]
             for number in range(60)}  # fmt: skip
    dataset = prepare_frame(pl.DataFrame({**frame, "y": ["a", "b"] * 20}))
    read = [warning for warning in dataset.warnings if "is read as numbers" in warning]
    assert len(read) == 5
    assert "and 55 more columns of numbers or dates written as text" in dataset.warnings
