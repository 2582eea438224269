"""Confusion matrices as text tables."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.report.confusion import actual_shares, confusion_table, frequent_confusions

NAMES = ("a", "b", "c")
MATRIX = np.array([[5.0, 3.0, 0.0], [7.0, 10.0, 1.0], [0.0, 0.0, 0.0]])


def test_matrix_has_counts_and_shares_of_the_actual_class() -> None:
    table = confusion_table(MATRIX, NAMES, "number of test rows")
    assert table.columns == ("", "predicted a", "predicted b", "predicted c")
    assert table.rows[0] == ("actual a", "5 (62.5%)", "3 (37.5%)", "0 (0.0%)")
    assert table.rows[2] == ("actual c", "0 (0.0%)", "0 (0.0%)", "0 (0.0%)")


def test_most_frequent_confusions_come_first() -> None:
    table = frequent_confusions(MATRIX, NAMES, "number of test rows")
    assert table.title == "most frequent confusions, number of test rows"
    assert table.columns == ("actual", "predicted", "count", "fraction of actual")
    assert table.rows == (
        ("b", "a", "7", "38.9%"),
        ("a", "b", "3", "37.5%"),
        ("b", "c", "1", "5.6%"),
    )


def test_title_counts_omitted_confusions() -> None:
    table = frequent_confusions(MATRIX, NAMES, limit=2)
    assert len(table.rows) == 2
    assert table.title.endswith("(2 of 3 pairs)")


def test_no_confusions() -> None:
    assert frequent_confusions(np.eye(3) * 4, NAMES).rows == ()


@given(
    st.integers(2, 30).flatmap(
        lambda count: st.lists(
            st.lists(st.integers(0, 9), min_size=count, max_size=count),
            min_size=count,
            max_size=count,
        )
    )
)
def test_confusions_sum_to_all_errors(counts: list[list[int]]) -> None:
    matrix = np.array(counts, np.float64)
    names = [str(index) for index in range(len(matrix))]
    rows = frequent_confusions(matrix, names, limit=len(matrix) ** 2).rows
    assert sum(int(row[2]) for row in rows) == matrix.sum() - np.trace(matrix)
    values = [int(row[2]) for row in rows]
    assert values == sorted(values, reverse=True)
    totals = actual_shares(matrix).sum(axis=1)
    np.testing.assert_allclose(totals, matrix.sum(axis=1) > 0)
