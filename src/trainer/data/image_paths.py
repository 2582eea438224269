"""Paths of images in tables, which are relative to the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl


def with_image_paths(frame: pl.DataFrame, folder: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Return a frame whose image paths, relative to the folder of the table, can be opened."""
    paths = [name for name in columns if frame.schema.get(name) == pl.String]
    return frame.with_columns(
        pl.when(pl.col(name).str.starts_with("/"))
        .then(pl.col(name))
        .otherwise(pl.lit(f"{folder}/") + pl.col(name))
        .alias(name)
        for name in paths
    )
