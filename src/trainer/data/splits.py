"""Which rows train, validate and test.

Every assignment is a function of (seed, row) or of (seed, value): there is no state and no order.

    random      rows ranked by a hash of (seed, row): the first are tested, the next validate
    stratified  the same within each class; in every class each split has its share, rounded up or
                down, and the class at least one training row
    group       a hash of (seed, group) in [0, 1): below `test` tested, then validation
    hash        the same for a value, or for all values of the row
    time        the latest rows are tested, those before them validate; rows of one time stay
                together, in the later split
    column      the value says it

With a fold k of n, in place of a validation share, the rows that are not tested are cut into n folds;
the k-th validates, the others train. The test rows are those of the split without folds.

    random      the rows in the order of their ranks are dealt to the folds in turn
    stratified  the same, class after class: folds differ by one row at most, in each class too
    group       the groups, in the order of their hashes, are dealt to the folds in turn
    hash        the rest of [0, 1), after `test`, is cut into n parts of one length
    time        n + 1 parts in the order of time, all but the first of one length; part k + 1 validates,
                what lies before it trains, what lies after it is dropped (as scikit-learn's
                TimeSeriesSplit does)

Of n rows, random and time take round(test · n) test and round(validation · n) validation rows, halves
up, at least one where the share is above 0; stratified the same, but for the rounding within classes;
group and hash take about as many, and what they took stays when rows are added.

Owns: the rules. Does not own: which rows take part, the record of the splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import polars as pl

from trainer.data.arrays import Assignment, Float64Array, RowIndex, UInt64Array
from trainer.data.hashing import record_keys, row_keys, text_keys, to_unit_interval
from trainer.data.values import text
from trainer.errors import DataError, Problem

TRAIN, VALIDATION, TEST, DROPPED = 0, 1, 2, -1
SplitName = Literal["train", "validation", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "validation", "test")

_Dealt = TypeVar("_Dealt", RowIndex, UInt64Array)


@dataclass(frozen=True, slots=True)
class Fold:
    """The fold that validates: `number`, from 1, of `of`."""

    number: int
    of: int


_WORDS = {
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
    """How many of `rows` rows test and validate: rounded, halves up, one at least if any.

    Raises:
        DataError: No row is left to train on.
    """
    tested = max(1, int(test * rows + 0.5)) if test > 0 else 0
    validated = max(1, int(validation * rows + 0.5)) if validation > 0 else 0
    if rows - tested - validated < 1:
        least = 1 + (test > 0) + (validation > 0)
        raise DataError(
            Problem(
                "",
                f"at least {least} rows with a target for these splits",
                f"{rows} ({tested} would test, {validated} validate)",
                "lower data.split.test and data.split.validation, or set them to 0",
                "data.split",
            )
        )
    return tested, validated


def random_split(
    seed: int, rows: RowIndex, test: float, validation: float, fold: Fold | None = None
) -> Assignment:
    """Exactly `split_sizes` rows, by the rank of a hash of (seed, row number).

    Raises:
        DataError: No row is left to train on, or fewer rows than folds.
    """
    tested, validated = split_sizes(len(rows), test, 0 if fold is not None else validation)
    order = _ranked(seed, rows)
    assignment = np.zeros(len(rows), dtype=np.int8)
    assignment[order[:tested]] = TEST
    if fold is None:
        assignment[order[tested : tested + validated]] = VALIDATION
    else:
        _check_enough(len(rows) - tested, fold.of, "rows", fold)
        assignment[_dealt(order[tested:], fold)] = VALIDATION
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
    """Each class in its share: every split has the class's quota rounded up or down.

    Args:
        seed: The seed.
        rows: Row numbers, shape (n,).
        classes: Names, for messages.
        codes: Class of each row, shape (n,), in [0, len(classes)).
        test: Share of test rows.
        validation: Share of validation rows; with a fold it has a say in the rounding of the test rows,
            which are those of the split without folds.
        fold: The fold that validates.

    Raises:
        DataError: A class has one row only, which cannot be both learnt and tested, or fewer rows than
            there are folds.
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
                "at least 2 rows of every class to split them by class",
                f"1 row of {names}{more}",
                "remove or merge such classes, or set data.split.by to random",
                "data.split.by",
            )
        )
    table = _apportioned(counts, sizes, test, validation)
    order = _ranked(seed, rows)
    # Few bytes a code make the sort quick and small.
    ordered = codes.astype(np.min_scalar_type(len(classes)))[order]
    by_class = order[np.argsort(ordered, kind="stable")]
    del order, ordered
    starts = np.concatenate(([0], np.cumsum(counts)))
    assignment = np.zeros(len(rows), dtype=np.int8)
    for index, (tested, validated) in enumerate(table):
        members = by_class[starts[index] : starts[index + 1]]
        assignment[members[:tested]] = TEST
        if fold is None:
            assignment[members[tested : tested + validated]] = VALIDATION
    if fold is not None:
        _check_classes(classes, np.bincount(codes[assignment != TEST], minlength=len(counts)), fold)
        assignment[_dealt(by_class[assignment[by_class] != TEST], fold)] = VALIDATION
    return assignment


def _apportioned(
    counts: RowIndex, sizes: tuple[int, int], test: float, validation: float
) -> list[tuple[int, int]]:
    """Test and validation rows of each class: quotas rounded up or down, columns near `sizes`.

    What rounding down leaves over of a class goes, one row each, to the splits that still need most;
    a class without a training row gives one to training first.
    """
    shares = np.array([1 - test - validation, validation, test])
    quotas = np.round(np.outer(counts, shares), 9)
    cells = np.floor(quotas).astype(np.int64)
    wanted = np.array([int(counts.sum()) - sum(sizes), sizes[1], sizes[0]])
    need = (wanted - cells.sum(axis=0)).tolist()
    rounded: list[tuple[int, int]] = []
    for quota, cell, count in zip(quotas.tolist(), cells.tolist(), counts.tolist(), strict=True):
        urgency = [
            (split == TRAIN and cell[TRAIN] == 0, need[split], quota[split] - cell[split], -split)
            for split in range(3)
            if quota[split] > cell[split]
        ]
        for *_, place in sorted(urgency, reverse=True)[: count - sum(cell)]:
            cell[-place] += 1
            need[-place] -= 1
        rounded.append((cell[TEST], cell[VALIDATION]))
    return rounded


def value_split(
    seed: int,
    series: pl.Series | pl.DataFrame,
    test: float,
    validation: float,
    fold: Fold | None = None,
) -> Assignment:
    """By a hash of (seed, value) of a column, or of all values of a row; stays when rows are added."""
    keys: UInt64Array = (
        record_keys(seed, series) if isinstance(series, pl.DataFrame) else text_keys(seed, series)
    )
    place = to_unit_interval(keys)
    assignment = np.zeros(len(place), dtype=np.int8)
    if fold is None:
        assignment[place < test + validation] = VALIDATION
    else:
        part = np.floor((place - test) / (1 - test) * fold.of)
        # Rounding may take the last places to the end of the last part.
        assignment[np.minimum(part, fold.of - 1) == fold.number - 1] = VALIDATION
    assignment[place < test] = TEST
    return assignment


def group_fold(seed: int, series: pl.Series, test: float, fold: Fold) -> Assignment:
    """The groups that `value_split` does not test, dealt to the folds.

    Raises:
        DataError: Fewer groups than folds.
    """
    keys: UInt64Array = text_keys(seed, series)
    assignment = np.where(to_unit_interval(keys) < test, TEST, TRAIN).astype(np.int8)
    groups = np.unique(keys[assignment == TRAIN])
    _check_enough(len(groups), fold.of, "groups", fold)
    assignment[np.isin(keys, _dealt(groups, fold))] = VALIDATION
    return assignment


def time_split(
    when: RowIndex | Float64Array, test: float, validation: float, fold: Fold | None = None
) -> Assignment:
    """The latest rows are tested, those before them validate, or are cut into folds.

    Rows of the same time are kept together, in the later split or fold, which may then have more rows.
    Rows later than the fold are DROPPED.

    Args:
        when: The time of each row.
        test: Share of test rows.
        validation: Share of validation rows.
        fold: The fold that validates.

    Raises:
        DataError: There are too few rows.
    """
    tested, validated = split_sizes(len(when), test, 0 if fold is not None else validation)
    ordered = np.sort(when)
    assignment = np.zeros(len(when), dtype=np.int8)
    if validated:
        assignment[when >= ordered[len(when) - tested - validated]] = VALIDATION
    if fold is not None:
        early = ordered[ordered < ordered[len(when) - tested]] if tested else ordered
        length = len(early) // (fold.of + 1)
        _check_enough(len(early), fold.of + 1, "rows", fold)
        start = len(early) - (fold.of - fold.number + 1) * length
        assignment[when >= early[start]] = VALIDATION
        if fold.number < fold.of:
            assignment[when >= early[start + length]] = DROPPED
    if tested:
        assignment[when >= ordered[len(when) - tested]] = TEST
    return assignment


def _dealt(places: _Dealt, fold: Fold) -> _Dealt:
    """Those that the fold gets when they are dealt to the folds in turn."""
    return places[fold.number - 1 :: fold.of]


def _check_enough(count: int, least: int, of_what: str, fold: Fold) -> None:
    if count < least:
        expected = f"at least {least:,} {of_what} that are not tested for {fold.of:,} folds"
        raise DataError(Problem("", expected, f"{count:,}", "take fewer folds", "data.split"))


def _check_classes(classes: Sequence[str], counts: RowIndex, fold: Fold) -> None:
    few = [(name, count) for name, count in zip(classes, counts, strict=True) if count < fold.of]
    if few:
        names = ", ".join(f"{count} of '{name}'" for name, count in few[:5])
        raise DataError(
            Problem(
                "",
                f"at least {fold.of} rows of every class that are not tested for {fold.of} folds",
                names + (f" and {len(few) - 5} more classes" if len(few) > 5 else ""),
                "take fewer folds, merge such classes, or set data.split.by to random",
                "data.split",
            )
        )


def column_split(series: pl.Series) -> Assignment:
    """As the column says: train, validation (val, valid, dev) or test, in any case.

    Raises:
        DataError: Another word stands there.
    """
    written = text(series)
    words = written.str.to_lowercase()
    odd = [
        word
        for word in written.unique(maintain_order=True).to_list()
        if word is None or word.lower() not in _WORDS
    ]
    if odd:
        found = ", ".join("a missing value" if word is None else f"'{word}'" for word in odd[:5])
        raise DataError(
            Problem(
                "",
                f"train, validation or test in every row of '{series.name}'",
                found,
                "correct the values, or split another way",
                "data.split.column",
            )
        )
    found_splits = words.replace_strict(_WORDS, return_dtype=pl.Int8)
    return np.array(found_splits.to_numpy(), dtype=np.int8)


def _ranked(seed: int, rows: RowIndex) -> RowIndex:
    """Positions in the order of their random keys; a function of (seed, row numbers) alone."""
    # Rows that differ have keys that differ: any sort gives this order.
    order: RowIndex = np.argsort(row_keys(seed, rows))
    return order
