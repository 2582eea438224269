"""Stateless random numbers: hashes of the seed and a row number or value.

A 64-bit mix (the finalizer of SplitMix64, Steele, Lea and Flood 2014) for row numbers, BLAKE2b for
text. Neither depends on the machine, the process, the order of the rows or the other rows.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from trainer.data.arrays import Float64Array, RowIndex, UInt64Array
from trainer.data.json_text import json_text
from trainer.data.values import is_nested, level_text

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_MISSING = np.uint64(0xD1B54A32D192ED03)
_TO_UNIT = 2.0**-53
_RECORDS = 100_000


def mix64(words: UInt64Array) -> UInt64Array:
    """Scramble 64-bit words; the function is a bijection, so that distinct words stay distinct."""
    words = words + _GOLDEN
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    mixed: UInt64Array = words ^ (words >> np.uint64(31))
    return mixed


def row_keys(seed: int, rows: RowIndex) -> UInt64Array:
    """Return a random 64-bit key for each row number, a function of (seed, row)."""
    start = mix64(np.array([seed], dtype=np.uint64))
    return mix64(rows.astype(np.uint64) ^ start)


def text_keys(seed: int, series: pl.Series) -> UInt64Array:
    """Return a random 64-bit key for each cell, a function of (seed, text); missing cells share one."""
    cells = level_text(series)
    levels = cells.unique().drop_nulls()
    key = seed.to_bytes(8, "little")
    words = [_digest(level.encode(), key) for level in levels.to_list()]
    table = pl.Series(words, dtype=pl.UInt64)
    keys = cells.replace_strict(levels, table, default=int(_MISSING), return_dtype=pl.UInt64)
    return np.array(keys.to_numpy(), dtype=np.uint64)


def record_keys(seed: int, frame: pl.DataFrame) -> UInt64Array:
    """Return a random 64-bit key for each row, a function of (seed, all cells and column names)."""
    names = sorted(frame.columns)
    key = _digest("\x1f".join(names).encode(), seed.to_bytes(8, "little")).to_bytes(8, "little")
    words = np.empty(frame.height, dtype=np.uint64)
    for start in range(0, frame.height, _RECORDS):
        part = frame[start : start + _RECORDS]
        cells = [_cell_text(part.get_column(name)).fill_null("\x1e") for name in names]
        records = pl.select(pl.concat_str(cells, separator="\x1f")).to_series().to_list()
        words[start : start + _RECORDS] = [_digest(record.encode(), key) for record in records]
    return words


def _cell_text(series: pl.Series) -> pl.Series:
    return json_text(series) if is_nested(series.dtype) else level_text(series)


def to_unit_interval(words: UInt64Array) -> Float64Array:
    """Map 64-bit words to numbers in [0, 1)."""
    return (words >> np.uint64(11)).astype(np.float64) * _TO_UNIT


def _digest(content: bytes, key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, key=key).digest(), "little")
