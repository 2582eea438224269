"""Texts that are nearly the same, and hashes that similar rows share.

The similarity of two texts is the Jaccard index of their sets of five consecutive characters. Candidates
share a band of MinHash values (Broder 1997): with four bands of four, 99% of pairs with an index of 0.9.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from trainer.data.arrays import Assignment, BoolArray, RowIndex, UInt64Array
from trainer.data.hashing import mix64
from trainer.data.ngrams import split_units, text_chunks

_SHINGLE = 5
_BANDS, _BAND_HASHES = 4, 4
_SIMILARITY = 0.8
_CHUNK_CHARACTERS = 1_000_000
_MAX_CHARACTERS = 20_000
"""The characters of a text that are compared."""
_MAX_GROUP, _MAX_PAIRS = 200, 50_000


def linked_hashes(pairs: Iterable[Sequence[int]], count: int) -> UInt64Array:
    """Return a hash for each of `count` rows, which rows that pairs connect share."""
    parents = list(range(count))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = row = parents[parents[row]]
        return row

    for first, second in pairs:
        parents[root(second)] = root(first)
    return mix64(np.array([root(row) for row in range(count)], dtype=np.uint64))


def text_hashes(texts: Sequence[str], split: Assignment) -> UInt64Array:
    """Return a hash for each text, uint64 (n,), which nearly the same texts of two splits share.

    Args:
        texts: Cleaned texts. Those of fewer than five characters are different.
        split: int8 (n,): their splits.
    """
    shingles: list[UInt64Array] = []
    signatures = np.empty((len(texts), _BANDS), np.uint64)
    for part in text_chunks(texts, _CHUNK_CHARACTERS):
        shortened = [text[:_MAX_CHARACTERS] for text in texts[part]]
        signatures[part], sets = _signatures(shortened)
        shingles += sets
    usable = np.array([len(keys) > 0 for keys in shingles], np.bool_)
    pairs = _candidates(signatures, split, usable)
    similar = [
        pair
        for pair in pairs.tolist()
        if _similarity(*(shingles[row] for row in pair)) >= _SIMILARITY
    ]
    return linked_hashes(similar, len(texts))


def _signatures(texts: Sequence[str]) -> tuple[UInt64Array, list[UInt64Array]]:
    """Return a hash of each band of MinHash values (n, bands), and the shingles of each text."""
    ngrams = split_units(texts, "characters").ngrams((_SHINGLE, _SHINGLE))
    counts = np.bincount(ngrams.documents, minlength=len(texts))
    signatures = np.zeros((len(texts), _BANDS), np.uint64)
    filled = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[filled]
    if len(filled):
        for band in range(_BANDS):
            for index in range(_BAND_HASHES):
                salt = np.array([band * _BAND_HASHES + index + 1], np.uint64)
                least = np.minimum.reduceat(mix64(ngrams.keys ^ mix64(salt)), starts)
                signatures[filled, band] = mix64(signatures[filled, band] ^ least)
    return signatures, np.split(ngrams.keys, np.cumsum(counts)[:-1])


def _candidates(signatures: UInt64Array, split: Assignment, usable: BoolArray) -> RowIndex:
    """Return pairs of rows in two splits that share a band, int64 (m, 2)."""
    pairs: list[RowIndex] = [np.empty((0, 2), np.int64)]
    rows = np.flatnonzero(usable)
    for band in range(_BANDS):
        keys = signatures[rows, band]
        order = rows[np.argsort(keys, kind="stable")]
        starts = np.flatnonzero(np.diff(signatures[order, band])) + 1
        for group in np.split(order, starts):
            if not 2 <= len(group) <= _MAX_GROUP:
                continue
            first, second = np.nonzero(np.triu(split[group][:, None] != split[group]))
            pairs.append(np.stack([group[first], group[second]], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)[:_MAX_PAIRS]


def _similarity(first: UInt64Array, second: UInt64Array) -> float:
    """Return the Jaccard index of two sets of shingles."""
    first, second = np.unique(first), np.unique(second)
    both = len(np.intersect1d(first, second, assume_unique=True))
    return both / (len(first) + len(second) - both)
