"""Paths of images in tables, which are relative to the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from trainer.data.table_files import TableFile


def with_image_paths(frame: pl.DataFrame, file: TableFile, columns: Sequence[str]) -> pl.DataFrame:
    """Return rows of a file whose image paths can be opened; those of a folder of images can be."""
    if file.format == "folder" or file.path.parent == Path():
        return frame
    paths = [name for name in columns if frame.schema.get(name) == pl.String]
    return frame.with_columns(
        pl.when(pl.col(name).str.starts_with("/"))
        .then(pl.col(name))
        .otherwise(pl.lit(f"{file.path.parent}/") + pl.col(name))
        .alias(name)
        for name in paths
    )
