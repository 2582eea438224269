"""Samples contain the rows of the table, in memory and streamed."""

import numpy as np
import polars as pl
import pytest

from tests.data.streamed import prepare_streaming
from trainer.data import streams
from trainer.data.prepare import prepare
from trainer.data.sampling import draw_row_sample

ROWS = 300


@pytest.fixture
def config(tmp_path, make_config, monkeypatch):
    monkeypatch.setattr(streams, "BATCH_ROWS", 64)
    rng = np.random.default_rng(0)
    pl.DataFrame(
        {
            "number": np.arange(ROWS),
            "word": rng.choice(["p", "q"], ROWS),
            "weight": rng.uniform(1, 2, ROWS).round(3),
            "y": np.arange(ROWS) * 2.0,
        }
    ).write_csv(tmp_path / "table.csv")
    data = {"weight": "weight", "target_scale": "none", "split": {"test": 0.2, "validation": 0.0}}
    return make_config(str(tmp_path / "table.csv"), "y", data)


@pytest.mark.parametrize("size", [7, 100, 1000])
def test_rows_targets_and_weights_match(config, size):
    dataset = prepare(config)
    sample = draw_row_sample(dataset, "train", size, seed=3)
    assert sample.split_rows == 240
    assert len(sample.rows) == min(size, 240)
    assert (np.diff(sample.rows) > 0).all()
    assert sample.frame.columns == ["number", "word"]
    np.testing.assert_array_equal(sample.frame["number"].cast(int), sample.rows)
    np.testing.assert_array_equal(sample.y[:, 0], sample.rows * 2)
    np.testing.assert_array_equal(sample.weight, dataset.weight[sample.rows])
    assert (dataset.assignment[sample.rows] == 0).all()
    again = draw_row_sample(dataset, "train", size, seed=3)
    assert again.rows.tolist() == sample.rows.tolist()


def test_streamed_table_has_the_same_sample(config):
    for size in (7, 1000):
        whole = draw_row_sample(prepare(config), "train", size, seed=3)
        parts = draw_row_sample(prepare_streaming(config), "train", size, seed=3)
        assert whole.rows.tolist() == parts.rows.tolist()
        assert whole.frame.equals(parts.frame)
        np.testing.assert_array_equal(whole.y, parts.y)
        np.testing.assert_array_equal(whole.weight, parts.weight)


def test_subsample(config):
    sample = draw_row_sample(prepare(config), "test", 1000, seed=0)
    few = sample.subsample(5, seed=1)
    assert len(few.rows) == 5
    assert set(few.rows) <= set(sample.rows)
    np.testing.assert_array_equal(few.y[:, 0], few.rows * 2)
    np.testing.assert_array_equal(few.frame["number"].cast(int), few.rows)
    assert sample.subsample(1000, seed=1) is sample
    other = sample.subsample(5, seed=2)
    assert few.rows.tolist() != other.rows.tolist()


def test_empty_split_has_no_sample(config):
    assert draw_row_sample(prepare(config), "validation", 10, seed=0) is None
