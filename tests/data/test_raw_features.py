"""Raw features: numbers and codes as in the table, NaN where there is no value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trainer.config.load import load_config
from trainer.data.dataset import Dataset
from trainer.data.prepare import prepare
from trainer.data.raw_features import raw_features, raw_width

NAN = float("nan")


def prepared(folder: Path, frame: pl.DataFrame, settings: str = "") -> Dataset:
    frame.write_csv(folder / "table.csv")
    (folder / "config.yaml").write_text(
        f"data: {{source: table.csv, target: y, split: {{test: 0, validation: 0}}{settings}}}\n"
    )
    return prepare(load_config(folder / "config.yaml").config)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rows = 60
    number = np.arange(rows)
    frame = pl.DataFrame(
        {
            "amount": [None if i == 0 else f"${i},000" for i in number],
            "size": [None if i == 1 else float(i) for i in number],
            "color": [None if i == 2 else ("red", "green", "blue")[i % 3] for i in number],
            "grade": [("low", "high")[i % 2] for i in number],
            "paid": [None if i == 3 else ("yes", "no")[i % 2] for i in number],
            "day": [None if i == 4 else f"2024-0{1 + i % 6}-01T12:00" for i in number],
            "y": number * 1.5,
        }
    )
    settings = (
        ", columns: {color: {kind: categorical, encode: embedding},"
        " grade: {kind: categorical, encode: ordinal, levels: [low, high]}},"
        " clean: {outliers: {method: zscore, factor: 1, action: clip}}"
    )
    return prepared(tmp_path, frame, settings)


def test_features_of_each_kind(dataset: Dataset) -> None:
    new = pl.DataFrame(
        {
            "amount": ["$7,000", None, "much"],
            "size": [29.5, None, 1e9],
            "color": ["red", None, "violet"],
            "grade": ["high", "low", None],
            "paid": ["yes", None, "maybe"],
            "day": ["2024-01-02T12:00", None, "soon"],
        }
    )
    x, is_category = raw_features(dataset.preprocessing, new)
    sizes = [i for i in range(60) if i != 1]
    assert is_category.tolist() == [False, False, True, False, False, False, False, False, False]
    assert raw_width(dataset.preprocessing) == len(is_category)
    amounts = np.arange(1, 60) * 1_000
    assert x[0, 0] == pytest.approx(amounts.mean() - amounts.std())
    assert x[0, 1:6].tolist() == [29.5, 2, 1, 1, 1]
    np.testing.assert_allclose(x[0, 6:], [1.5 / 366, 1.5 / 7, 0.5])
    np.testing.assert_array_equal(x[1], [NAN, NAN, NAN, 0, *[NAN] * 5])
    np.testing.assert_array_equal(x[2, [0, 2, 3, 4, 5]], NAN)
    assert x[2, 1] == pytest.approx(np.mean(sizes) + np.std(sizes))


def test_rare_levels_stay_separate(tmp_path: Path) -> None:
    levels = np.repeat([f"level {i}" for i in range(400)], np.arange(400) % 7 + 1)
    frame = pl.DataFrame({"level": levels, "y": np.arange(len(levels)) * 1.0})
    settings = ", columns: {level: {kind: categorical, min_count: 3, max_levels: 50}}"
    dataset = prepared(tmp_path, frame, settings)
    x, is_category = raw_features(dataset.preprocessing, frame)
    assert is_category.tolist() == [True]
    assert [len(np.unique(x[levels == level])) for level in levels] == [1] * len(levels)
    assert len(np.unique(x)) == 400
