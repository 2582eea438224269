"""The row that the report takes as its example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.data.streamed import prepare_streaming
from trainer.config.schema import Config
from trainer.data.prepare import prepare
from trainer.data.raw_rows import example_row


def config_of(path: Path, **split: Any) -> Config:
    data = {"source": str(path), "target": "y", "split": {"by": "column", "column": "part"}}
    return Config.model_validate({"data": {**data, **split}})


def frame() -> pl.DataFrame:
    rows = 60
    return pl.DataFrame(
        {
            "a": [None if row < 20 else row / 7 for row in range(rows)],
            "b": [f"level {row % 3}" for row in range(rows)],
            "part": [("train", "train", "validation", "test")[row % 4] for row in range(rows)],
            "y": np.random.default_rng(0).choice(["no", "yes"], rows),
        }
    )


@pytest.mark.parametrize("read", [prepare, prepare_streaming])
def test_example_is_the_first_validation_row_without_missing_values(
    tmp_path: Path, read: Any
) -> None:
    frame().write_csv(tmp_path / "t.csv")
    example = example_row(read(config_of(tmp_path / "t.csv")))
    assert (example.split, example.row) == ("validation", 22)
    assert example.values == {"a": 22 / 7, "b": "level 1"}


def test_example_is_the_first_row_if_all_have_missing_values(tmp_path: Path) -> None:
    table = frame()
    with_missing = (
        pl.when(pl.col("part") == "validation").then(None).otherwise(pl.col("b")).alias("b")
    )
    table.with_columns(with_missing).write_csv(tmp_path / "t.csv")
    example = example_row(prepare(config_of(tmp_path / "t.csv")))
    assert (example.row, example.values) == (2, {"a": None, "b": None})


def test_example_is_a_training_row_without_validation_rows(tmp_path: Path) -> None:
    table = frame().with_columns(part=pl.lit("train"))
    table.write_csv(tmp_path / "t.csv")
    example = example_row(prepare(config_of(tmp_path / "t.csv")))
    assert (example.split, example.row) == ("train", 20)
