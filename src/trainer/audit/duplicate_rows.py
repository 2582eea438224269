"""Checks for duplicate rows: in two splits, equal up to rounding, or with different targets.

Images are compared by the content of their files and, instead of rounding, by perceptual hashes.

Rows of a table with few columns or few distinct values repeat by chance. The number of near misses, the
pairs of rows that agree in every feature but one, shows how often. If they are as many as the pairs that
agree in all features, rows repeat by chance, and the finding is a note. The column with the most near
misses is excluded, as copies with one changed value would add to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from trainer.audit.audited_table import AuditedTable
from trainer.audit.findings import Finding
from trainer.audit.images import near_duplicate_hashes
from trainer.audit.near_duplicates import text_hashes
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import BoolArray, Float64Array, RowIndex, UInt64Array
from trainer.data.hashing import mix64
from trainer.data.splits import SPLIT_NAMES, TEST, TRAIN, VALIDATION
from trainer.data.values import level_text
from trainer.errors import pluralize

_DIGITS = 6
_MISS_COLUMNS = 60
_TARGET_TOLERANCE = 0.1
_MISSING = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class _RowHashes:
    """Hashes of the content of each row.

    Attributes:
        columns: uint64 (n,) hashes of each column; their wrapping sum is the hash of a row.
    """

    columns: Sequence[UInt64Array]

    @property
    def rows(self) -> UInt64Array:
        total: UInt64Array = np.stack(self.columns).sum(axis=0, dtype=np.uint64)
        return total


def find_duplicate_rows(audited: AuditedTable, ignored: Sequence[str]) -> list[Finding]:
    """Find rows of one split that are also in another, exactly or up to rounding, and conflicting rows.

    Args:
        audited: The audited table.
        ignored: Columns that identify rows or groups, in which copies differ.
    """
    compared = [name for name in audited.kinds if name not in ignored]
    if not compared:
        return []
    target = _target_hashes(audited)
    exact = _row_hashes(audited, compared, rounded=False)
    features = exact.rows
    rows = features + target
    # Identical files and sentences are never a coincidence.
    is_long = audited.images is not None or bool(audited.texts)
    findings = []
    shared = _in_two_splits(audited, rows)
    if shared.any():
        by_chance = not is_long and _pairs(rows) <= _near_misses(exact)
        findings.append(_shared(audited, shared, by_chance=by_chance))
    rounded = _row_hashes(audited, compared, rounded=True)
    rounded_rows = rounded.rows + target
    near = _in_two_splits(audited, rounded_rows) & ~shared
    if near.any():
        by_chance = not is_long and _pairs(rounded_rows) <= _near_misses(rounded)
        findings.append(_near(audited, near, by_chance=by_chance))
    conflicting, sets = _conflicting_rows(audited, features, target)
    if len(conflicting):
        same_features = _pairs(features) - _pairs(rows)
        by_chance = not is_long and same_features <= _near_misses(exact)
        findings.append(_conflict(audited, conflicting, sets, by_chance=by_chance))
    return findings


def _row_hashes(audited: AuditedTable, columns: Sequence[str], *, rounded: bool) -> _RowHashes:
    hashes = []
    for index, name in enumerate(columns):
        if audited.kinds[name] == "numeric":
            values = audited.numbers(name) + 0.0  # -0.0 becomes 0.0
            content = _float_bits(_round_to_digits(values) if rounded else values)
            is_text = audited.unparsable.get(name)
            if is_text is not None:
                text_hashes = level_text(audited.frame[name]).hash(seed=index).to_numpy()
                content[is_text] = text_hashes[is_text]
        elif name in audited.texts:
            content = _text_hashes(audited, name, index, rounded=rounded)
        elif audited.kinds[name] == "image":
            content = _image_hashes(audited, rounded=rounded)
        else:
            content = level_text(audited.frame[name]).hash(seed=index).to_numpy()
        hashes.append(mix64(content + mix64(np.array([index], dtype=np.uint64))))
    return _RowHashes(hashes)


def _text_hashes(audited: AuditedTable, name: str, seed: int, *, rounded: bool) -> UInt64Array:
    """Return a hash of each text without regard to case and white space, or one that similar texts
    share.
    """
    texts = audited.cleaned(name)
    if rounded:
        return text_hashes(texts, audited.split)
    hashes = pl.Series(texts, dtype=pl.String).hash(seed=seed).to_numpy()
    # Rows without a text have nothing to compare.
    empty = np.array([not text for text in texts], np.bool_)
    return np.where(empty, mix64(np.arange(len(texts), dtype=np.uint64)), hashes)


def _image_hashes(audited: AuditedTable, *, rounded: bool) -> UInt64Array:
    """Return a perceptual hash of each image, or a hash of its file; broken images never match."""
    images = audited.images
    assert images is not None
    if rounded:
        return near_duplicate_hashes(images, audited.split)
    files = images.files.content[images.rows].view(np.uint64)[:, 0]
    broken = mix64(np.arange(len(files), dtype=np.uint64))
    return np.where(images.broken_mask(), broken, files)


def _float_bits(values: Float64Array) -> UInt64Array:
    bits = np.ascontiguousarray(values).view(np.uint64).copy()
    bits[np.isnan(values)] = _MISSING
    return bits


def _round_to_digits(values: Float64Array) -> Float64Array:
    """Round to six significant digits."""
    magnitude = np.abs(values)
    is_regular = np.isfinite(magnitude) & (magnitude > 0)
    digits = np.zeros(len(values))
    digits[is_regular] = _DIGITS - 1 - np.floor(np.log10(magnitude[is_regular]))
    scale = 10.0 ** np.clip(digits, -300, 300)
    rounded = np.where(is_regular, np.round(values * scale) / scale, values)
    return np.asarray(rounded + 0.0)


def _target_hashes(audited: AuditedTable) -> UInt64Array:
    total = np.zeros(len(audited.rows), dtype=np.uint64)
    for index in range(audited.y.shape[1]):
        column = audited.y[:, index].astype(np.float64) + 0.0
        total += mix64(_float_bits(column) + mix64(np.array([index + (1 << 32)], dtype=np.uint64)))
    return total


def _pairs(hashes: UInt64Array) -> int:
    """Return the number of pairs of equal rows."""
    counts = np.unique(hashes, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _near_misses(hashes: _RowHashes) -> int:
    """Return the number of pairs of rows that agree in every feature but one.

    With more than two features, the feature with the most such pairs is excluded.
    """
    total = hashes.rows
    same = _pairs(total)
    step = -(-len(hashes.columns) // _MISS_COLUMNS)
    misses = [_pairs(total - column) - same for column in hashes.columns[::step]]
    return (sum(misses) - (max(misses) if len(misses) > 2 else 0)) * step


def _in_two_splits(audited: AuditedTable, hashes: UInt64Array) -> BoolArray:
    """Return bool (n,): validation rows also in training, test rows also in training or validation."""
    mask = np.zeros(len(hashes), dtype=np.bool_)
    validation, test = audited.split == VALIDATION, audited.split == TEST
    mask[validation] = np.isin(hashes[validation], hashes[audited.split == TRAIN])
    mask[test] = np.isin(hashes[test], hashes[~test])
    return mask


def _split_counts(audited: AuditedTable, mask: BoolArray) -> str:
    parts = []
    for split in (VALIDATION, TEST):
        in_split = audited.split == split
        count = int((mask & in_split).sum())
        if count:
            parts.append(f"{count:,} of {int(in_split.sum()):,} {SPLIT_NAMES[split]} rows")
    return " and ".join(parts)


def _shared(audited: AuditedTable, shared: BoolArray, *, by_chance: bool) -> Finding:
    found = f"{_split_counts(audited, shared)} that are identical to rows of another split"
    if by_chance:
        return Finding(
            "duplicate_rows", "note", audited.affected_rows(np.flatnonzero(shared)),
            "each row in one split only",
            f"{found}; about as many rows agree in all features but one: they repeat by chance",
            "the metrics include repeated rows",
            "to avoid that, set data.clean.duplicates: drop",
        )  # fmt: skip
    return Finding(
        "duplicate_rows", "error", audited.affected_rows(np.flatnonzero(shared)),
        "each row in one split only", found,
        "their metrics include rows seen in training",
        "set data.clean.duplicates: drop",
    )  # fmt: skip


def _near(audited: AuditedTable, near: BoolArray, *, by_chance: bool) -> Finding:
    likeness = f"are identical to rows of another split to {_DIGITS} significant digits"
    fix = "remove the copies, or round the columns in the file and drop its duplicates"
    if audited.images is not None:
        likeness = "look like an image of another split"
        fix = "compare them, and remove the copies"
    elif audited.texts:
        likeness = (
            "are nearly the same as rows of another split: texts share most of their characters"
        )
        fix = "compare them, and remove the copies"
    return Finding(
        "near_duplicate_rows", "note" if by_chance else "warning",
        audited.affected_rows(np.flatnonzero(near)),
        "each row in one split only",
        f"{_split_counts(audited, near)} that {likeness}",
        "their metrics include rows almost identical to training rows",
        fix,
    )  # fmt: skip


def _conflicting_rows(
    audited: AuditedTable, features: UInt64Array, target: UInt64Array
) -> tuple[RowIndex, int]:
    """Return rows with equal features but different targets, and the number of distinct features."""
    is_regression = not TASK_RULES[audited.target.task].has_classes
    y = audited.y.astype(np.float64)
    std = y[audited.train].std(axis=0) if is_regression else np.zeros(1)
    frame = pl.DataFrame({"features": features, "target": target})
    targets = frame.select(
        pl.col("target").n_unique().over("features").alias("targets"),
    )["targets"].to_numpy()
    rows: RowIndex = np.flatnonzero(targets > 1)
    if is_regression and len(rows):
        group = np.unique(features[rows], return_inverse=True)[1]
        differs = np.zeros(group.max() + 1, dtype=np.bool_)
        for column in range(y.shape[1]):
            minimum = np.full(len(differs), np.inf)
            maximum = np.full(len(differs), -np.inf)
            np.minimum.at(minimum, group, y[rows, column])
            np.maximum.at(maximum, group, y[rows, column])
            differs |= maximum - minimum > _TARGET_TOLERANCE * std[column]
        rows = rows[differs[group]]
    return rows, len(np.unique(features[rows]))


def _conflict(audited: AuditedTable, rows: RowIndex, sets: int, *, by_chance: bool) -> Finding:
    found = (
        f"{pluralize(len(rows), 'row')} with the same features as another row but a different target "
        f"({pluralize(sets, 'set')} of features)"
    )
    if by_chance:
        found += "; about as many rows agree in all features but one"
    return Finding(
        "conflicting_rows", "note" if by_chance else "warning", audited.affected_rows(rows),
        "one target for the same features", found,
        "no network can predict all of them correctly",
        "correct the targets, or add a column that distinguishes them",
    )  # fmt: skip
