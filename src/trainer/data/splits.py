"""Rules that split rows into training, validation and test rows.

Every assignment is a stateless function of (seed, row) or (seed, value), independent of the row order.

    random      rows ranked by a hash of (seed, row): the first are test rows, the next validation rows
    stratified  the same within each class; each split gets its share of every class, rounded up or
                down, and every class keeps at least one training row
    group       a hash of (seed, group) in [0, 1): test rows below `test`, then validation rows
    hash        the same for a value, or for all values of the row
    time        the latest rows are test rows, those before them validation rows; rows with the same
                time stay together, in the later split
    column      the column contains the split

With fold k of n instead of a validation fraction, all rows but the test rows are divided into n folds;
fold k is the validation split, the others are training rows. The test rows are the same as without
folds.

    random      the rows, in order of their ranks, are assigned to the folds in turn
    stratified  the same, one class after another: fold sizes differ by at most one row, per class too
    group       the groups, in order of their hashes, are assigned to the folds in turn
    hash        the rest of [0, 1), after `test`, is divided into n intervals of equal length
    time        n + 1 parts in time order, all but the first of equal length; part k + 1 is the
                validation split, earlier parts are training rows, later parts are dropped (as in
                scikit-learn's TimeSeriesSplit)

Of n rows, random and time take round(test · n) test and round(validation · n) validation rows, rounding
halves up, at least one if the share is above 0; stratified the same, except for rounding within
classes; group and hash approximately as many. The splits of group and hash do not change when rows are
added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import polars as pl

from trainer.data.arrays import Assignment, Float64Array, RowIndex, UInt64Array
from trainer.data.hashing import record_keys, row_keys, text_keys, to_unit_interval
from trainer.data.values import to_text
from trainer.errors import DataError, Problem

TRAIN, VALIDATION, TEST, DROPPED = 0, 1, 2, -1
SplitName = Literal["train", "validation", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "validation", "test")

_Items = TypeVar("_Items", RowIndex, UInt64Array)


@dataclass(frozen=True, slots=True)
class Fold:
    """The validation fold: `number`, from 1, of `count` folds."""

    number: int
    count: int


SPLIT_CODES = {
    "train": TRAIN,
    "training": TRAIN,
    "validation": VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
    "testing": TEST,
}


def split_sizes(rows: int, test: float, validation: float) -> tuple[int, int]:
    """Return the number of test and of validation rows: rounded, halves up, at least 1 if any.

    Raises:
        DataError: If no training row is left.
    """
    n_test = max(1, int(test * rows + 0.5)) if test > 0 else 0
    n_validation = max(1, int(validation * rows + 0.5)) if validation > 0 else 0
    if rows - n_test - n_validation < 1:
        minimum = 1 + (test > 0) + (validation > 0)
        raise DataError(
            Problem(
                "",
                f"at least {minimum} rows with a target for these splits",
                f"{rows} ({n_test} would be test rows, {n_validation} validation rows)",
                "lower data.split.test and data.split.validation, or set them to 0",
                "data.split",
            )
        )
    return n_test, n_validation


def random_split(
    seed: int, rows: RowIndex, test: float, validation: float, fold: Fold | None = None
) -> Assignment:
    """Split exactly `split_sizes` rows, ranked by a hash of (seed, row number).

    Raises:
        DataError: If no training row is left, or there are fewer rows than folds.
    """
    n_test, n_validation = split_sizes(len(rows), test, 0 if fold is not None else validation)
    order = _ranked(seed, rows)
    assignment = np.zeros(len(rows), dtype=np.int8)
    assignment[order[:n_test]] = TEST
    if fold is None:
        assignment[order[n_test : n_test + n_validation]] = VALIDATION
    else:
        _check_fold_count(len(rows) - n_test, fold.count, "rows", fold)
        assignment[_fold_items(order[n_test:], fold)] = VALIDATION
    return assignment


def stratified_split(
    seed: int,
    rows: RowIndex,
    classes: Sequence[str],
    codes: RowIndex,
    test: float,
    validation: float,
    fold: Fold | None = None,
) -> Assignment:
    """Split each class by the shares: every split gets its quota of a class, rounded up or down.

    Args:
        seed: The seed.
        rows: Row numbers, shape (n,).
        classes: Names, for messages.
        codes: Class of each row, shape (n,), in [0, len(classes)).
        test: Fraction of test rows.
        validation: Fraction of validation rows; with a fold it only affects the rounding of the test
            rows, which are the same as without folds.
        fold: The validation fold.

    Raises:
        DataError: If a class has only one row, which cannot be in both training and test, or fewer
            rows than there are folds.
    """
    sizes = split_sizes(len(rows), test, validation)
    counts = np.bincount(codes, minlength=len(classes))
    single = [name for name, count in zip(classes, counts, strict=True) if count == 1]
    if single and (test > 0 or validation > 0):
        names = ", ".join(f"'{name}'" for name in single[:5])
        more = f" and {len(single) - 5} more" if len(single) > 5 else ""
        raise DataError(
            Problem(
                "",
                "at least 2 rows of every class for a stratified split",
                f"1 row of {names}{more}",
                "remove or merge such classes, or set data.split.by to random",
                "data.split.by",
            )
        )
    quotas = _class_quotas(counts, sizes, test, validation)
    order = _ranked(seed, rows)
    # Codes of few bytes make the sort fast and small.
    ordered = codes.astype(np.min_scalar_type(len(classes)))[order]
    by_class = order[np.argsort(ordered, kind="stable")]
    del order, ordered
    starts = np.concatenate(([0], np.cumsum(counts)))
    assignment = np.zeros(len(rows), dtype=np.int8)
    for index, (n_test, n_validation) in enumerate(quotas):
        members = by_class[starts[index] : starts[index + 1]]
        assignment[members[:n_test]] = TEST
        if fold is None:
            assignment[members[n_test : n_test + n_validation]] = VALIDATION
    if fold is not None:
        _check_class_fold_counts(
            classes, np.bincount(codes[assignment != TEST], minlength=len(counts)), fold
        )
        assignment[_fold_items(by_class[assignment[by_class] != TEST], fold)] = VALIDATION
    return assignment


def _class_quotas(
    counts: RowIndex, sizes: tuple[int, int], test: float, validation: float
) -> list[tuple[int, int]]:
    """Return the number of test and validation rows of each class, with sums close to `sizes`.

    Quotas are rounded down. The remaining rows of a class go, one each, to the splits that still need
    the most rows; a class without a training row gives one to training first.
    """
    shares = np.array([1 - test - validation, validation, test])
    quotas = np.round(np.outer(counts, shares), 9)
    cells = np.floor(quotas).astype(np.int64)
    targets = np.array([int(counts.sum()) - sum(sizes), sizes[1], sizes[0]])
    need = (targets - cells.sum(axis=0)).tolist()
    rounded: list[tuple[int, int]] = []
    for quota, cell, count in zip(quotas.tolist(), cells.tolist(), counts.tolist(), strict=True):
        urgency = [
            (split == TRAIN and cell[TRAIN] == 0, need[split], quota[split] - cell[split], -split)
            for split in range(3)
            if quota[split] > cell[split]
        ]
        for *_, negative_split in sorted(urgency, reverse=True)[: count - sum(cell)]:
            cell[-negative_split] += 1
            need[-negative_split] -= 1
        rounded.append((cell[TEST], cell[VALIDATION]))
    return rounded


def value_split(
    seed: int,
    series: pl.Series | pl.DataFrame,
    test: float,
    validation: float,
    fold: Fold | None = None,
) -> Assignment:
    """Split by a hash of (seed, value) of a column, or of all values; stable when rows are added."""
    keys: UInt64Array = (
        record_keys(seed, series) if isinstance(series, pl.DataFrame) else text_keys(seed, series)
    )
    position = to_unit_interval(keys)
    assignment = np.zeros(len(position), dtype=np.int8)
    if fold is None:
        assignment[position < test + validation] = VALIDATION
    else:
        index = np.floor((position - test) / (1 - test) * fold.count)
        # Rounding may move the last positions beyond the last fold.
        assignment[np.minimum(index, fold.count - 1) == fold.number - 1] = VALIDATION
    assignment[position < test] = TEST
    return assignment


def group_fold(seed: int, series: pl.Series, test: float, fold: Fold) -> Assignment:
    """Assign the groups that `value_split` does not use for testing to the folds.

    Raises:
        DataError: If there are fewer groups than folds.
    """
    keys: UInt64Array = text_keys(seed, series)
    assignment = np.where(to_unit_interval(keys) < test, TEST, TRAIN).astype(np.int8)
    groups = np.unique(keys[assignment == TRAIN])
    _check_fold_count(len(groups), fold.count, "groups", fold)
    assignment[np.isin(keys, _fold_items(groups, fold))] = VALIDATION
    return assignment


def time_split(
    when: RowIndex | Float64Array, test: float, validation: float, fold: Fold | None = None
) -> Assignment:
    """Use the latest rows for testing, and those before them for validation or folds.

    Rows with the same time stay together, in the later split or fold, which may then have more rows.
    Rows later than the fold are DROPPED.

    Args:
        when: The time of each row.
        test: Fraction of test rows.
        validation: Fraction of validation rows.
        fold: The validation fold.

    Raises:
        DataError: If there are too few rows.
    """
    n_test, n_validation = split_sizes(len(when), test, 0 if fold is not None else validation)
    ordered = np.sort(when)
    assignment = np.zeros(len(when), dtype=np.int8)
    if n_validation:
        assignment[when >= ordered[len(when) - n_test - n_validation]] = VALIDATION
    if fold is not None:
        early = ordered[ordered < ordered[len(when) - n_test]] if n_test else ordered
        length = len(early) // (fold.count + 1)
        _check_fold_count(len(early), fold.count + 1, "rows", fold)
        start = len(early) - (fold.count - fold.number + 1) * length
        assignment[when >= early[start]] = VALIDATION
        if fold.number < fold.count:
            assignment[when >= early[start + length]] = DROPPED
    if n_test:
        assignment[when >= ordered[len(when) - n_test]] = TEST
    return assignment


def _fold_items(items: _Items, fold: Fold) -> _Items:
    """Return the items of a fold, when they are assigned to the folds in turn."""
    return items[fold.number - 1 :: fold.count]


def _check_fold_count(count: int, minimum: int, noun: str, fold: Fold) -> None:
    if count < minimum:
        expected = f"at least {minimum:,} {noun} outside the test split for {fold.count:,} folds"
        raise DataError(Problem("", expected, f"{count:,}", "use fewer folds", "data.split"))


def _check_class_fold_counts(classes: Sequence[str], counts: RowIndex, fold: Fold) -> None:
    few = [(name, count) for name, count in zip(classes, counts, strict=True) if count < fold.count]
    if few:
        names = ", ".join(f"{count} of '{name}'" for name, count in few[:5])
        raise DataError(
            Problem(
                "",
                f"at least {fold.count} rows of every class outside the test split for "
                f"{fold.count} folds",
                names + (f" and {len(few) - 5} more classes" if len(few) > 5 else ""),
                "use fewer folds, merge such classes, or set data.split.by to random",
                "data.split",
            )
        )


def column_split(series: pl.Series) -> Assignment:
    """Read the splits from a column: train, validation (val, valid, dev) or test, in any case.

    Raises:
        DataError: If there is another value.
    """
    cells = to_text(series)
    names = cells.str.to_lowercase()
    unknown = [
        cell
        for cell in cells.unique(maintain_order=True).to_list()
        if cell is None or cell.lower() not in SPLIT_CODES
    ]
    if unknown:
        found = ", ".join(
            "a missing value" if cell is None else f"'{cell}'" for cell in unknown[:5]
        )
        raise DataError(
            Problem(
                "",
                f"train, validation or test in every row of '{series.name}'",
                found,
                "correct the values, or split another way",
                "data.split.column",
            )
        )
    codes = names.replace_strict(SPLIT_CODES, return_dtype=pl.Int8)
    return np.array(codes.to_numpy(), dtype=np.int8)


def _ranked(seed: int, rows: RowIndex) -> RowIndex:
    """Return the positions sorted by their random keys, a function of (seed, row numbers) only."""
    # Different rows have different keys, so that any sort gives this order.
    order: RowIndex = np.argsort(row_keys(seed, rows))
    return order
