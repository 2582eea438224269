"""The texts by which an exported model recognizes the levels of a categorical column.

The distinct levels of a column have the numbers 0 … n-1. Unseen texts have the number n, and missing
values n + 1 if they have no level: with `unknown: rare`, only unseen texts are encoded as `(rare)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.data.arrays import Float64Array, RowIndex
from trainer.data.categorical import CategoricalColumn
from trainer.data.spellings import canonical_level, casefold_level


def level_keys(column: CategoricalColumn, missing: str) -> dict[str, int]:
    """Return the texts that are recognized, each with its number.

    These are the levels in canonical spelling; integers with a plus sign or `.0`; with `ignore_case`,
    with ASCII letters in lower case, their usual spellings; and `missing`, for a missing value.
    """
    levels = (*column.levels, *column.merged)
    key = casefold_level if column.ignore_case else canonical_level
    keys: dict[str, int] = {}
    for spell in (_exact, _variants):
        for number, level in enumerate(levels):
            for text in spell(level, column.ignore_case):
                keys.setdefault(text, number)
    by_key = {key(level): number for number, level in enumerate(levels)}
    if column.has_missing_level:
        keys[missing] = column.distinct_levels - 1
    elif column.fill is not None and key(column.fill) in by_key:
        keys[missing] = by_key[key(column.fill)]
    else:
        keys[missing] = column.distinct_levels + 1
    return keys


def number_codes(column: CategoricalColumn) -> RowIndex:
    """Return the code of each number, int64 (n + 2,); see `trainer.data.categorical.level_codes`."""
    rare = len(column.levels)
    codes = [*range(rare), *[rare] * len(column.merged)]
    if column.has_missing_level:
        codes.append(column.codes - 1)
    unseen = rare if column.unknown == "rare" and column.rare else -1
    return np.array([*codes, unseen, -1], np.int64)


def number_target_means(column: CategoricalColumn) -> list[Float64Array]:
    """Return the target means of each number, (n + 2, inputs); empty without target means."""
    if column.target_means is None:
        return []
    return [column.target_means.encode(np.append(np.arange(column.distinct_levels), [-1, -1]))]


def missing_text(columns: Sequence[CategoricalColumn]) -> str:
    """Return the text that stands for a missing value: empty, unless that is a level of one."""
    levels = {level for column in columns for level in (*column.levels, *column.merged)}
    return "" if "" not in levels else "(missing)" if "(missing)" not in levels else "\0"


def _exact(level: str, ignore_case: bool) -> Sequence[str]:
    return [ascii_lower(casefold_level(level)), ascii_lower(level)] if ignore_case else [level]


def _variants(level: str, ignore_case: bool) -> Sequence[str]:
    texts = [canonical_level(level)]
    if texts[0].removeprefix("-").isascii() and texts[0].removeprefix("-").isdigit():
        texts += [f"{texts[0]}.0", f"+{texts[0]}"] if texts[0][0] != "-" else [f"{texts[0]}.0"]
    if ignore_case:
        texts += [
            change(text)
            for change in (str.lower, str.upper, str.title, str.capitalize)
            for text in list(texts)
        ]
        texts = [ascii_lower(text) for text in texts]
    return texts


def ascii_lower(text: str) -> str:
    """Return a text with its ASCII letters in lower case."""
    return "".join(c.lower() if c.isascii() else c for c in text)
