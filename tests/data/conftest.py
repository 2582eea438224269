from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from trainer.config.schema import Config
from trainer.data.dataset import Dataset
from trainer.data.prepare import prepare

MakeConfig = Callable[..., Config]
PrepareFrame = Callable[..., Dataset]


@pytest.fixture
def make_config() -> MakeConfig:
    """Make a config from a source, a target and `data` settings; other sections as keywords."""

    def make(source: Any, target: Any, data: Mapping[str, Any] = {}, **sections: Any) -> Config:
        content = {"data": {"source": source, "target": target, **data}, **sections}
        return Config.model_validate(content)

    return make


@pytest.fixture
def prepare_frame(tmp_path: Path, make_config: MakeConfig) -> PrepareFrame:
    """Write a frame as CSV and prepare it."""

    def run(frame: pl.DataFrame | Mapping[str, Any], target: Any = "y", **data: Any) -> Dataset:
        path = tmp_path / "table.csv"
        pl.DataFrame(frame).write_csv(path)
        sections = {key: data.pop(key) for key in ("seed", "model", "loss") if key in data}
        return prepare(make_config(str(path), target, data, **sections))

    return run


@pytest.fixture
def mixed_frame() -> pl.DataFrame:
    """120 rows with every kind of column, missing values, and a column `part` with the split."""
    rng = np.random.default_rng(5)
    rows = 120
    number = pl.Series(rng.normal(size=rows))
    missing = pl.Series(rng.random(rows) < 0.1)
    return pl.DataFrame(
        {
            "a": number,
            "b": pl.select(
                pl.when(~missing).then(pl.Series(rng.integers(0, 50, rows)))
            ).to_series(),
            "c": rng.choice(["red", "green", "blue"], rows),
            "d": pl.select(
                pl.when(~missing).then(pl.Series(rng.choice(["x", "y", "z"], rows)))
            ).to_series(),
            "e": rng.choice(["yes", "no"], rows),
            "f": [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}T{i % 24:02d}:30" for i in range(rows)],
            "part": [("train", "train", "validation", "test")[i % 4] for i in range(rows)],
            "y": rng.choice(["good", "bad"], rows),
        }
    )
