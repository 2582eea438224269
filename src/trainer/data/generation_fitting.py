"""Fit the encoding of what a generator learns: columns, or the pixels of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.nodes import column_key
from trainer.config.schema import Config
from trainer.data.arrays import BoolArray, Float64Array
from trainer.data.column_kinds import (
    InvalidValues,
    almost_numeric_problem,
    count_booleans,
    count_dates,
    infer_kind,
)
from trainer.data.column_settings import explicit_kind
from trainer.data.fitting import infinity_problem
from trainer.data.generated_columns import (
    MAX_KNOTS,
    Dtype,
    GeneratedCategory,
    GeneratedColumn,
    GeneratedImages,
    GeneratedNumber,
    read_numbers,
)
from trainer.data.images import fit_image_column
from trainer.data.spellings import natural_sort
from trainer.data.tables import Table
from trainer.data.values import is_date_type, level_text, number_expr, number_matrix
from trainer.errors import DataError, Problem, pluralize

MAX_NUMBER_LEVELS = 10
"""A column of numbers with at most this many different ones is generated like categories."""
MAX_LEVELS = 1_000
_MAX_DECIMALS = 6
_DAY = 86_400_000_000
"""In microseconds."""


def fit_images(
    table: Table, names: Sequence[str], path: str | None, training: BoolArray, config: Config
) -> GeneratedImages:
    """Return the shape of images, and the range of their pixels in the training rows.

    Args:
        table: The table.
        names: The columns that are generated.
        path: The column of image files; None if the columns are pixels.
        training: Which rows are trained on, (rows,).
        config: The config.

    Raises:
        DataError: There are other columns, or the pixels do not fit the size or are not numbers.
    """
    data = config.data
    if path is not None:
        others = [name for name in names if name != path]
        if others:
            found = f"{pluralize(len(others), 'other column')}, such as '{others[0]}'"
            fix = "set data.features.include to the column of images"
            expected = "images as the only column of task: generate"
            raise DataError(Problem("", expected, found, fix, "data.features"))
        column = fit_image_column(path, data.image)
        return GeneratedImages(
            height=column.height, width=column.width, channels=column.channels, path=path,
            resize=column.resize,
        )  # fmt: skip
    side = config.generation.image
    height, width = (side, side) if isinstance(side, int) else side or (0, 0)
    if len(names) not in (height * width, 3 * height * width):
        expected = f"{height} × {width} = {height * width:,} pixel columns, or three times as many"
        fix = "set generation.image to the size of the images, or choose the columns with data.features"
        raise DataError(Problem("", expected, f"{len(names):,}", fix, "generation.image"))
    numbers = number_matrix(table.frame, names)
    used = numbers[training]
    problems = [
        Problem(
            table.where(int(np.flatnonzero(~np.isfinite(numbers[:, index]))[0])),
            f"a number in every cell of '{names[index]}', as it is a pixel",
            "another value",
            "correct it, or choose the pixels with data.features.include",
        )
        for index in np.flatnonzero(~np.isfinite(numbers).all(axis=0))[:10]
    ]
    if problems:
        raise DataError(problems)
    low, high = float(used.min()), float(used.max())
    if low == high:
        raise DataError(Problem(table.name, "pixels that differ", f"only {low:g}"))
    if low >= 0 and 128 < high <= 255 and np.array_equal(used, np.rint(used)):
        low, high = 0.0, 255.0
    return GeneratedImages(
        height=height, width=width, channels=1 if len(names) == height * width else 3,
        path=None, pixels=tuple(names), low=low, high=high,
    )  # fmt: skip


def fit_columns(
    table: Table, names: Sequence[str], training: BoolArray, data: Data
) -> tuple[tuple[GeneratedColumn, ...], list[str], list[str]]:
    """Return the fitted columns, warnings and notes.

    Args:
        table: The table.
        names: The columns that are generated.
        training: Which rows are trained on, (rows,).
        data: The `data` section.

    Raises:
        DataError: Values are invalid, or a column cannot be generated; lists all problems.
    """
    columns: list[GeneratedColumn] = []
    warnings, notes, problems = list[str](), list[str](), list[Problem]()
    for name in names:
        series = table.frame[name]
        fitted = _fit_column(table, series, training, data)
        if isinstance(fitted, Problem):
            problems.append(fitted)
        elif fitted is None:
            warnings.append(f"column '{name}' is not generated: it is empty in the training rows")
        else:
            columns.append(fitted)
    few = [
        column.name
        for column in columns
        if isinstance(column, GeneratedCategory) and column.dtype in ("integer", "float")
    ]
    if few:
        shown = ", ".join(few[:8]) + (", …" if len(few) > 8 else "")
        notes.append(
            f"numbers with at most {MAX_NUMBER_LEVELS} different values are generated like "
            f"categories: {shown}"
        )
    if not columns and not problems:
        found = "none: all are empty"
        problems.append(Problem(table.name, "a column to generate", found, "check data.features"))
    if problems:
        raise DataError(problems)
    return tuple(columns), warnings, notes


def _fit_column(
    table: Table, series: pl.Series, training: BoolArray, data: Data
) -> GeneratedColumn | Problem | None:
    """Return a fitted column, its problem, or None if it has no values in the training rows."""
    name, mask = series.name, pl.Series(training)
    known = series.filter(mask).drop_nulls()
    if series.dtype.is_float():
        known = known.filter(known.is_not_nan())
    missing = int(np.count_nonzero(training)) - len(known)
    if not len(known):
        return None
    numbers = known.to_frame().select(number_expr(name, known.dtype)).to_series()
    numeric = len(numbers) - numbers.null_count()
    kind = explicit_kind(data, name) or infer_kind(
        series.dtype,
        len(known),
        numeric,
        lambda: count_booleans(known) == len(known),
        lambda: count_dates(known) == len(known),
    )
    if kind is None or (kind == "numeric" and numeric < len(known)):
        bad = (training & ~series.is_null().to_numpy()) & np.isnan(read_numbers(series, "float"))
        invalid = InvalidValues.at(series, np.arange(len(series)), bad)
        return almost_numeric_problem(table, name, invalid, len(known), numeric)
    if kind == "numeric":
        return _number(table, series, training, missing)
    if kind == "datetime":
        is_date = series.dtype == pl.Date or (
            not is_date_type(series.dtype)
            and bool((known.cast(pl.String).str.len_chars() == 10).all())
        )
        dtype: Dtype = "date" if is_date else "datetime"
        stamps = read_numbers(series, dtype)[training]
        known_dates = stamps[~np.isnan(stamps)].astype(np.int64)
        step = max(int(np.gcd.reduce(known_dates)), 1)
        return _with_values(name, stamps, dtype, 0, missing, _DAY if is_date else step)
    return _category(table, series, known, missing)


def _number(
    table: Table, series: pl.Series, training: BoolArray, missing: int
) -> GeneratedColumn | Problem:
    numbers = read_numbers(series, "float")[training]
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        row = int(np.flatnonzero(training)[infinite[0]])
        return infinity_problem(table, series.name, row, len(infinite))
    known = numbers[~np.isnan(numbers)]
    decimals = _decimals(known)
    dtype: Dtype = "float" if decimals or series.dtype.is_float() else "integer"
    distinct, counts = np.unique(known, return_counts=True)
    if len(distinct) <= MAX_NUMBER_LEVELS:
        levels = level_text(pl.Series(distinct)).to_list()
        return GeneratedCategory(
            name=series.name,
            dtype=dtype,
            levels=tuple(levels),
            counts=tuple(counts.tolist()),
            missing=missing,
        )
    return _with_values(series.name, numbers, dtype, decimals, missing)


def _with_values(
    name: str, numbers: Float64Array, dtype: Dtype, decimals: int, missing: int, step: int = 0
) -> GeneratedNumber:
    values = np.sort(numbers[~np.isnan(numbers)])
    if len(values) > MAX_KNOTS:
        chosen = np.linspace(0, len(values) - 1, MAX_KNOTS)
        values = values[np.rint(chosen).astype(np.int64)]
    return GeneratedNumber(
        name=name,
        dtype=dtype,
        decimals=decimals,
        step=step,
        values=tuple(values.tolist()),
        missing=missing,
    )


def _decimals(values: Float64Array) -> int:
    """Return the number of decimals that all numbers have at most, up to six; 12 for more."""
    for decimals in range(_MAX_DECIMALS + 1):
        if np.array_equal(np.round(values, decimals), values):
            return decimals
    return 12


def _category(
    table: Table, series: pl.Series, known: pl.Series, missing: int
) -> GeneratedColumn | Problem:
    counted = level_text(known).value_counts()
    counts = dict(zip(counted[series.name], counted["count"], strict=True))
    if len(counts) > MAX_LEVELS:
        return Problem(
            table.name,
            f"at most {MAX_LEVELS:,} different values in '{series.name}', a column of categories",
            f"{len(counts):,}",
            f"exclude it (data.features.exclude), or set {column_key(series.name)}.kind",
        )
    levels = natural_sort(list(counts))
    return GeneratedCategory(
        name=series.name,
        dtype="boolean" if series.dtype == pl.Boolean else "text",
        levels=tuple(levels),
        counts=tuple(counts[level] for level in levels),
        missing=missing,
    )
