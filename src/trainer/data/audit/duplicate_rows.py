"""Rows that are there twice: in two splits, up to rounding, or with another target.

A table of few columns or few values repeats itself by chance, and so do its splits. How much, its near
misses tell: pairs of rows that agree in every feature but one. Where they are as many as the pairs that
agree in all (the column with the most of them left out, which a copy with one value changed would
fill), rows repeat by chance and that is a note.

Owns: finding them. Does not own: dropping them (`data.clean.duplicates`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from trainer.data.arrays import BoolArray, Float64Array, RowIndex, UInt64Array
from trainer.data.audit.audited_table import AuditedTable
from trainer.data.audit.findings import Finding, Kind, Severity, counted
from trainer.data.hashing import mix64
from trainer.data.splits import SPLIT_NAMES, TEST, TRAIN, VALIDATION
from trainer.data.values import level_text

_DIGITS = 6
_MISS_COLUMNS = 60
_TARGET_SHARE = 0.1
_BLANK = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class _Keys:
    """A word for the content of each row, and what it is made of.

    Attributes:
        columns: uint64 (n,) of each column; they sum, wrapping, to the word of a row.
    """

    columns: Sequence[UInt64Array]

    @property
    def rows(self) -> UInt64Array:
        total: UInt64Array = np.stack(self.columns).sum(axis=0, dtype=np.uint64)
        return total


def find_duplicate_rows(audited: AuditedTable, ignored: Sequence[str]) -> list[Finding]:
    """Rows of one split that are in another, the same or up to rounding, and rows that contradict.

    Args:
        audited: The table.
        ignored: Columns that name rows or groups, in which copies differ too.
    """
    compared = [name for name in audited.kinds if name not in ignored]
    if not compared:
        return []
    target = _target_words(audited)
    exact = _keys(audited, compared, rounded=False)
    features = exact.rows
    whole = features + target
    found = []
    shared = _in_two_splits(audited, whole)
    if shared.any():
        found.append(_shared(audited, shared, _pairs(whole) <= _near_misses(exact)))
    rounded = _keys(audited, compared, rounded=True)
    alike = rounded.rows + target
    near = _in_two_splits(audited, alike) & ~shared
    if near.any():
        found.append(_near(audited, near, _pairs(alike) <= _near_misses(rounded)))
    against, groups = _contradicting(audited, features, target)
    if len(against):
        natural = _pairs(features) - _pairs(whole) <= _near_misses(exact)
        found.append(_contradiction(audited, against, groups, natural))
    return found


def _keys(audited: AuditedTable, columns: Sequence[str], *, rounded: bool) -> _Keys:
    words = []
    for place, name in enumerate(columns):
        if audited.kinds[name] == "numeric":
            values = audited.numbers(name) + 0.0  # of the two zeros one
            content = _words(_significant(values) if rounded else values)
            odd = audited.unreadable.get(name)
            if odd is not None:
                content[odd] = level_text(audited.frame[name]).hash(seed=place).to_numpy()[odd]
        else:
            content = level_text(audited.frame[name]).hash(seed=place).to_numpy()
        words.append(mix64(content + mix64(np.array([place], dtype=np.uint64))))
    return _Keys(words)


def _words(values: Float64Array) -> UInt64Array:
    bits = np.ascontiguousarray(values).view(np.uint64).copy()
    bits[np.isnan(values)] = _BLANK
    return bits


def _significant(values: Float64Array) -> Float64Array:
    """Rounded to six significant digits."""
    size = np.abs(values)
    usual = np.isfinite(size) & (size > 0)
    digits = np.zeros(len(values))
    digits[usual] = _DIGITS - 1 - np.floor(np.log10(size[usual]))
    scale = 10.0 ** np.clip(digits, -300, 300)
    rounded = np.where(usual, np.round(values * scale) / scale, values)
    return np.asarray(rounded + 0.0)


def _target_words(audited: AuditedTable) -> UInt64Array:
    total = np.zeros(len(audited.rows), dtype=np.uint64)
    for place in range(audited.y.shape[1]):
        column = audited.y[:, place].astype(np.float64) + 0.0
        total += mix64(_words(column) + mix64(np.array([place + (1 << 32)], dtype=np.uint64)))
    return total


def _pairs(words: UInt64Array) -> int:
    counts = np.unique(words, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _near_misses(keys: _Keys) -> int:
    """Pairs of rows that agree in every feature but one, without the feature that has most of them,
    unless there are one or two only.
    """
    total = keys.rows
    same = _pairs(total)
    step = -(-len(keys.columns) // _MISS_COLUMNS)
    misses = [_pairs(total - words) - same for words in keys.columns[::step]]
    return (sum(misses) - (max(misses) if len(misses) > 2 else 0)) * step


def _in_two_splits(audited: AuditedTable, words: UInt64Array) -> BoolArray:
    """Validation rows that are among the training rows, test rows that are among either; bool (n,)."""
    found = np.zeros(len(words), dtype=np.bool_)
    validation, test = audited.split == VALIDATION, audited.split == TEST
    found[validation] = np.isin(words[validation], words[audited.split == TRAIN])
    found[test] = np.isin(words[test], words[~test])
    return found


def _split_counts(audited: AuditedTable, mask: BoolArray) -> str:
    parts = []
    for split in (VALIDATION, TEST):
        here = audited.split == split
        count = int((mask & here).sum())
        if count:
            parts.append(f"{count:,} of {int(here.sum()):,} {SPLIT_NAMES[split]} rows")
    return " and ".join(parts)


def _shared(audited: AuditedTable, shared: BoolArray, natural: bool) -> Finding:
    found = f"{_split_counts(audited, shared)} that are equal to rows of another split"
    if natural:
        return _rows_finding(
            audited, "duplicate_rows", "note", np.flatnonzero(shared),
            "rows that are in one split only",
            f"{found}; about as many rows agree in all features but one: they repeat by chance",
            "figures are those of a table that repeats itself",
            "where that is not wanted, set data.clean.duplicates: drop",
        )  # fmt: skip
    return _rows_finding(
        audited, "duplicate_rows", "fault", np.flatnonzero(shared),
        "rows that are in one split only", found,
        "their figures are of rows that were learnt",
        "set data.clean.duplicates: drop",
    )  # fmt: skip


def _near(audited: AuditedTable, near: BoolArray, natural: bool) -> Finding:
    return _rows_finding(
        audited, "near_duplicate_rows", "note" if natural else "warning", np.flatnonzero(near),
        "rows that are in one split only",
        f"{_split_counts(audited, near)} that are equal to rows of another split "
        f"to {_DIGITS} significant digits",
        "their figures are of rows that were as good as learnt",
        "remove the copies, or round the columns in the file and drop its duplicates",
    )  # fmt: skip


def _contradicting(
    audited: AuditedTable, features: UInt64Array, target: UInt64Array
) -> tuple[RowIndex, int]:
    """Rows that agree with others in all features and not in the target, and how many different."""
    numbers = audited.target.task == "regression"
    y = audited.y.astype(np.float64)
    spread = y[audited.train].std(axis=0) if numbers else np.zeros(1)
    frame = pl.DataFrame({"features": features, "target": target})
    marked = frame.select(
        pl.col("target").n_unique().over("features").alias("targets"),
    )["targets"].to_numpy()
    rows: RowIndex = np.flatnonzero(marked > 1)
    if numbers and len(rows):
        group = np.unique(features[rows], return_inverse=True)[1]
        apart = np.zeros(group.max() + 1, dtype=np.bool_)
        for column in range(y.shape[1]):
            lowest = np.full(len(apart), np.inf)
            highest = np.full(len(apart), -np.inf)
            np.minimum.at(lowest, group, y[rows, column])
            np.maximum.at(highest, group, y[rows, column])
            apart |= highest - lowest > _TARGET_SHARE * spread[column]
        rows = rows[apart[group]]
    return rows, len(np.unique(features[rows]))


def _contradiction(audited: AuditedTable, rows: RowIndex, groups: int, natural: bool) -> Finding:
    found = (
        f"{counted(len(rows), 'row')} that share the features of another and not its target "
        f"({counted(groups, 'set')} of features)"
    )
    if natural:
        found += "; about as many rows agree in all features but one"
    return _rows_finding(
        audited, "conflicting_rows", "note" if natural else "warning", rows,
        "one target for the same features", found,
        "no network can be right on all of them",
        "correct the targets, or add the column that tells them apart",
    )  # fmt: skip


def _rows_finding(
    audited: AuditedTable, kind: Kind, severity: Severity, rows: RowIndex, expected: str, found: str,
    meaning: str, fix: str,
) -> Finding:  # fmt: skip
    places = audited.places(rows)
    return Finding(kind, severity, places[0], (), places, len(rows), expected, found, meaning, fix)
