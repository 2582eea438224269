from __future__ import annotations

import numpy as np
import polars as pl

from trainer.data.hashing import mix64, record_keys, row_keys, text_keys, to_unit_interval


def test_mix_is_splitmix64():
    first = mix64(np.zeros(1, dtype=np.uint64))
    assert hex(int(first[0])) == "0xe220a8397b1dcdaf"


def test_keys_are_fixed_and_uniform():
    rows = np.arange(100_000)
    places = to_unit_interval(row_keys(0, rows))
    assert np.abs(np.histogram(places, 10, (0, 1))[0] / 10_000 - 1).max() < 0.05
    assert len(np.unique(row_keys(1, rows))) == len(rows)
    assert not np.array_equal(row_keys(0, rows), row_keys(1, rows))
    assert int(text_keys(3, pl.Series(["a"]))[0]) == 0xAACAD70231049035


def test_record_keys_depend_on_cells_and_columns():
    frame = pl.DataFrame({"a": ["x", "y", None, "x"], "b": ["y", "x", "x", "y"]})
    keys = record_keys(0, frame).tolist()
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]
    assert record_keys(0, frame.rename({"a": "c"})).tolist() != keys
