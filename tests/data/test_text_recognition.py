import polars as pl
import pytest

from trainer.data.text_recognition import is_text

REVIEWS = [f"item {row} arrived late and the box was broken" for row in range(40)]
CHINESE = [f"第{row}次购买，质量很好，非常满意，推荐给朋友" for row in range(40)]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (REVIEWS, True),
        (CHINESE, True),
        (REVIEWS[:5] * 20, False),  # few different values: categories
        ([f"Smith, Mr. John {row}" for row in range(40)], False),
        ([f"{row:032x}" for row in range(40)], False),
        ([f"https://example.com/a/b/{row}" for row in range(40)], False),
        (REVIEWS[:20], False),  # too few rows
    ],
)
def test_sentences_are_text(cells, expected):
    series = pl.Series("t", cells)
    assert is_text(series, series.n_unique()) is expected


def test_numbers_are_not_text():
    assert not is_text(pl.Series("t", range(100)), 100)
