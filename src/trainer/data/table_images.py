"""The images of a table: all rows share one entry of the cache, regardless of split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.images import image_columns
from trainer.data.arrays import BoolArray
from trainer.data.image_cache import CachedImages
from trainer.data.images import ImageColumn, fit_image_column, with_statistics
from trainer.data.preprocessing import Column
from trainer.data.tables import Table
from trainer.errors import DataError, Problem, pluralize

_SHOWN = 5


def image_feature(data: Data, features: Sequence[str]) -> str | None:
    """Return the feature that is a column of images."""
    return next((name for name in image_columns(data) if name in features), None)


def broken_images(table: Table, name: str, data: Data) -> tuple[BoolArray, list[str]]:
    """Return which rows have a broken image, bool (rows,), and a warning with the first ones.

    Raises:
        DataError: All are broken.
    """
    images = fit_image_column(name, data.image).load(table.frame[name])
    mask = images.broken_mask()
    rows = np.flatnonzero(mask)
    shown = [_broken_text(table, name, images, int(row)) for row in rows[:_SHOWN]]
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    if mask.all():
        found = f"none in {pluralize(len(rows), 'row')}: {', '.join(shown)}{more}"
        raise DataError(Problem(table.name, "an image that can be decoded", found))
    count = pluralize(len(rows), "broken image")
    return mask, [f"{count}: {', '.join(shown)}{more}"] if shown else []


def with_image_contents(table: Table, name: str, data: Data) -> Table:
    """Return a table with a hash of the content of each image file in place of its path."""
    images = fit_image_column(name, data.image).load(table.frame[name])
    hashes = pl.Series(name, images.files.content.view(np.uint64)[images.rows, 0]).cast(pl.String)
    broken = pl.Series(images.broken_mask())
    content = pl.select(pl.when(broken).then(table.frame[name]).otherwise(hashes)).to_series()
    return replace(table, frame=table.frame.with_columns(content.alias(name)))


def standardized(
    columns: Sequence[Column], table: Table, training: BoolArray, data: Data
) -> tuple[Column, ...]:
    """Return the columns, with the statistics of the training rows if images are standardized.

    Args:
        columns: The fitted columns.
        table: All rows, with the column of images.
        training: bool (rows,): the training rows.
        data: The `data` section.

    Raises:
        DataError: Images of training rows are broken.
    """
    if data.image.scale != "standardize":
        return tuple(columns)
    return tuple(
        _standardized(column, table, training) if isinstance(column, ImageColumn) else column
        for column in columns
    )


def _standardized(column: ImageColumn, table: Table, training: BoolArray) -> ImageColumn:
    images = column.load(table.frame[column.name])
    check_images(images, table, column.name, training)
    return with_statistics(column, images.files.sums[images.rows[training]])


def check_images(images: CachedImages, table: Table, name: str, used: BoolArray) -> None:
    """Check that the images of some rows could be decoded.

    Args:
        images: The images of all rows.
        table: All rows.
        name: The column of images.
        used: bool (rows,): the rows to check.

    Raises:
        DataError: Some are broken; lists the first ones.
    """
    rows = np.flatnonzero(images.broken_mask() & used)
    if not len(rows):
        return
    fix = "replace or remove it"
    if len(rows) > 1:
        fix = f"replace or remove these {len(rows):,} files"
    fix += ", or set data.image.broken: drop"
    problems = []
    for row in rows[:_SHOWN]:
        path, reason = _broken(table, name, images, int(row))
        where = table.where(int(row)) if path is None else path
        problems.append(Problem(where, "an image", reason, fix if row == rows[:_SHOWN][-1] else ""))
    raise DataError(problems)


def _broken(table: Table, name: str, images: CachedImages, row: int) -> tuple[str | None, str]:
    path: str | None = table.frame[name][row]
    return path, "no path" if path is None else images.broken[int(images.rows[row])]


def _broken_text(table: Table, name: str, images: CachedImages, row: int) -> str:
    path, reason = _broken(table, name, images, row)
    return f"{table.where(row) if path is None else path} ({reason})"
