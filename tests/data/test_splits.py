from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    column_split,
    random_split,
    split_sizes,
    stratified_split,
    time_split,
    value_split,
)
from trainer.errors import DataError

shares = st.floats(0, 0.45).map(lambda share: round(share, 3))


def rows(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int64)


@given(count=st.integers(4, 400), test=shares, validation=shares, seed=st.integers(0, 2**63 - 1))
def test_random_split_sizes(count, test, validation, seed):
    try:
        tested, validated = split_sizes(count, test, validation)
    except DataError:
        return
    assignment = random_split(seed, rows(count), test, validation)
    assert np.sum(assignment == TEST) == tested
    assert np.sum(assignment == VALIDATION) == validated
    assert np.sum(assignment == TRAIN) == count - tested - validated
    assert abs(tested - test * count) <= 1
    assert np.array_equal(assignment, random_split(seed, rows(count), test, validation))


def test_random_split_is_a_known_function_of_seed_and_row():
    assert random_split(7, rows(10), 0.2, 0.2).tolist() == KNOWN_SPLIT
    assert random_split(8, rows(10), 0.2, 0.2).tolist() != KNOWN_SPLIT


def test_random_split_depends_only_on_row_numbers():
    kept = np.array([2, 3, 5, 8, 13, 21])
    shuffled = kept[::-1].copy()
    assignment = random_split(1, kept, 0.3, 0.3)
    assert np.array_equal(random_split(1, shuffled, 0.3, 0.3)[::-1], assignment)


@given(
    counts=st.lists(st.integers(2, 60), min_size=1, max_size=12),
    test=shares,
    validation=shares,
    seed=st.integers(0, 1000),
)
def test_stratified_shares_are_exact_within_one_row(counts, test, validation, seed):
    codes = np.repeat(np.arange(len(counts)), counts)
    try:
        sizes = split_sizes(len(codes), test, validation)
    except DataError:
        return
    names = [str(code) for code in range(len(counts))]
    assignment = stratified_split(seed, rows(len(codes)), names, codes, test, validation)
    for code, count in enumerate(counts):
        members = assignment[codes == code]
        for split, share in (
            (TRAIN, 1 - test - validation),
            (VALIDATION, validation),
            (TEST, test),
        ):
            assert abs(np.sum(members == split) - share * count) < 1 + 1e-6
        assert np.sum(members == TRAIN) >= 1
    smallest = min(counts)
    if smallest * (1 - test - validation) >= 1:
        off = abs(np.sum(assignment == TEST) - sizes[0]) + abs(
            np.sum(assignment == VALIDATION) - sizes[1]
        )
        assert off <= len(counts)


def test_stratified_sizes_equal_sklearn():
    from sklearn.model_selection import StratifiedShuffleSplit

    codes = np.repeat([0, 1, 2], [60, 30, 10])
    splitter = StratifiedShuffleSplit(1, test_size=0.2, random_state=0)
    _, test = next(splitter.split(codes, codes))
    assignment = stratified_split(3, rows(100), ["a", "b", "c"], codes, 0.2, 0.0)
    assert np.array_equal(np.bincount(codes[assignment == TEST]), np.bincount(codes[test]))


def test_stratified_class_with_one_row_raises():
    with pytest.raises(DataError, match=r"1 row of 'rare'"):
        stratified_split(0, rows(5), ["often", "rare"], np.array([0, 0, 0, 0, 1]), 0.2, 0.2)


def test_too_few_rows():
    with pytest.raises(DataError, match="at least 3 rows"):
        random_split(0, rows(2), 0.2, 0.2)


@given(
    values=st.lists(st.text(max_size=20), min_size=1, max_size=60),
    more=st.lists(st.text(max_size=20), max_size=30),
    seed=st.integers(0, 2**63 - 1),
)
def test_value_split_is_stable_when_rows_are_added_or_moved(values, more, seed):
    assignment = value_split(seed, pl.Series("g", values, pl.String), 0.3, 0.2)
    longer = value_split(seed, pl.Series("g", more + values, pl.String), 0.3, 0.2)
    assert np.array_equal(longer[len(more) :], assignment)
    backwards = value_split(seed, pl.Series("g", values[::-1], pl.String), 0.3, 0.2)
    assert np.array_equal(backwards[::-1], assignment)
    by_value = {}
    for value, split in zip(values, assignment, strict=True):
        assert by_value.setdefault(value, split) == split


def test_value_split_shares_and_types():
    numbers = pl.Series("g", range(20_000))
    assignment = value_split(3, numbers, 0.2, 0.1)
    assert abs(np.mean(assignment == TEST) - 0.2) < 0.01
    assert abs(np.mean(assignment == VALIDATION) - 0.1) < 0.01
    assert np.array_equal(value_split(3, numbers.cast(pl.Float64), 0.2, 0.1), assignment)
    assert np.array_equal(value_split(3, numbers.cast(pl.String), 0.2, 0.1), assignment)


def test_row_hash_ignores_column_order():
    frame = pl.DataFrame({"a": range(500), "b": [f"v{i % 7}" for i in range(500)]})
    assignment = value_split(1, frame, 0.3, 0.2)
    assert np.array_equal(value_split(1, frame.select("b", "a"), 0.3, 0.2), assignment)
    assert np.array_equal(value_split(1, frame.reverse(), 0.3, 0.2)[::-1], assignment)
    assert set(assignment.tolist()) == {TRAIN, VALIDATION, TEST}


def test_time_split_tests_the_latest_rows():
    assignment = time_split(np.array([9, 1, 5, 3, 7, 2, 8, 4, 6, 0]), 0.2, 0.2)
    assert assignment.tolist() == [TEST, 0, 0, 0, VALIDATION, 0, TEST, 0, VALIDATION, 0]


def test_rows_with_the_same_time_are_in_the_later_split():
    assignment = time_split(np.array([1, 2, 3, 3, 3, 3]), 1 / 3, 1 / 6)
    assert assignment.tolist() == [TRAIN, TRAIN, TEST, TEST, TEST, TEST]


def test_column_split_values():
    words = pl.Series("s", ["train", "Val", "TEST", "validation", "dev", "training"])
    assignment = column_split(words)
    assert assignment.tolist() == [TRAIN, VALIDATION, TEST, VALIDATION, VALIDATION, TRAIN]
    with pytest.raises(DataError, match="'holdout', a missing value"):
        column_split(pl.Series("s", ["train", "holdout", None]))


KNOWN_SPLIT = [0, 1, 1, 0, 0, 0, 0, 2, 2, 0]
