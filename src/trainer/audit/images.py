"""Checks of images: those that cannot be decoded, and near-duplicates.

Candidates share a quarter of the bits of a difference hash; then their pixels are compared.
"""

from __future__ import annotations

import numpy as np

from trainer.audit.audited_table import AuditedTable
from trainer.audit.findings import Finding
from trainer.audit.near_duplicates import linked_hashes
from trainer.data.arrays import Assignment, BoolArray, RowIndex, UInt64Array
from trainer.data.image_cache import CachedImages
from trainer.errors import pluralize

_BANDS, _BITS = 4, 16
_MAX_DISTANCE = 8
# Larger groups consist of images with empty areas, such as drawings on white.
_MAX_GROUP, _MAX_PAIRS = 500, 200_000
_MAX_DIFFERENCE = 0.25
_COMPARED = 256


def find_broken_images(audited: AuditedTable) -> list[Finding]:
    """Find images that cannot be decoded; those of dropped rows are not audited."""
    images = audited.images
    if images is None or not images.broken:
        return []
    rows = np.flatnonzero(images.broken_mask())
    reasons = [images.broken[int(images.rows[row])] for row in rows]
    distinct = ", ".join(dict.fromkeys(reasons))
    return [
        Finding(
            "broken_images", "error", audited.affected_rows(rows), "images that can be decoded",
            f"{pluralize(len(rows), 'file')} that cannot: {distinct}",
            "fit rejects them",
            "replace or remove them, or set data.image.broken: drop",
        )
    ]  # fmt: skip


def near_duplicate_hashes(images: CachedImages, split: Assignment) -> UInt64Array:
    """Return a hash for each image, uint64 (n,), shared by near-duplicates in different splits.

    Args:
        images: The images.
        split: int8 (n,): their splits.
    """
    pairs = _candidates(images.files.look[images.rows], split, ~images.broken_mask())
    return linked_hashes(pairs[_are_alike(images, pairs)].tolist(), len(split))


def _candidates(looks: UInt64Array, split: Assignment, usable: BoolArray) -> RowIndex:
    """Return pairs of rows in two splits whose hashes differ in few bits, int64 (m, 2)."""
    pairs: list[RowIndex] = [np.empty((0, 2), np.int64)]
    for band in range(_BANDS):
        keys = (looks >> np.uint64(_BITS * band)) & np.uint64((1 << _BITS) - 1)
        order = np.flatnonzero(usable)[np.argsort(keys[usable], kind="stable")]
        starts = np.flatnonzero(np.diff(keys[order])) + 1
        for group in np.split(order, starts):
            if not 2 <= len(group) <= _MAX_GROUP:
                continue
            near = np.bitwise_count(looks[group][:, None] ^ looks[group]) <= _MAX_DISTANCE
            near &= split[group][:, None] != split[group]
            first, second = np.nonzero(np.triu(near))
            pairs.append(np.stack([group[first], group[second]], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)[:_MAX_PAIRS]


def _are_alike(images: CachedImages, pairs: RowIndex) -> BoolArray:
    """Return whether the pixels of pairs differ little relative to their variation, bool (m,)."""
    alike = np.zeros(len(pairs), np.bool_)
    for start in range(0, len(pairs), _COMPARED):
        part = slice(start, start + _COMPARED)
        first, second = (
            images.files.pixels[images.rows[rows]].reshape(len(rows), -1).astype(np.float32)
            for rows in pairs[part].T
        )
        difference = np.sqrt(np.square(first - second).mean(axis=1))
        alike[part] = difference <= _MAX_DIFFERENCE * np.maximum(first.std(axis=1), 1)
    return alike
