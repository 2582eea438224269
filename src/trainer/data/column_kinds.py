"""Infer the kind of each feature column from its training rows.

    numeric      every value is a number (including 0 and 1)
    boolean      every value is true, false, yes or no, in any case; or the type is Boolean
    datetime     every value is an ISO 8601 date or time; or the type is a date or time
    categorical  anything else

Other text may still be numbers or dates in another format: see `text_formats`. A text column with at
least 90%, but not all, plain numbers is probably an error rather than a category, and is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import polars as pl

from trainer.config.data import ColumnKind, Data
from trainer.config.nodes import column_key
from trainer.data.arrays import BoolArray, RowIndex
from trainer.data.column_settings import categorical_settings, explicit_kind, explicit_levels
from trainer.data.number_formats import parse_numbers
from trainer.data.spellings import canonical_level, casefold_level
from trainer.data.tables import Table
from trainer.data.text_formats import ParseSpec, explicit_date_format
from trainer.data.values import (
    is_date_type,
    level_text,
    number_expr,
    parse_booleans,
    to_mask,
    to_microseconds,
)
from trainer.errors import Problem

NUMERIC_THRESHOLD = 0.9
MAX_SHOWN = 3
_LEVELS_SHOWN = 12


def default_parse_spec(
    data: Data, name: str, dtype: pl.DataType, kind: ColumnKind | None
) -> ParseSpec:
    """Return how a column of a kind is parsed before its formats are detected."""
    if kind != "datetime":
        return ParseSpec(kind)
    # Text that is inferred to be dates without a configured format is ISO 8601.
    is_inferred = dtype == pl.String and explicit_kind(data, name) is None
    return ParseSpec(kind, date_format=None if is_inferred else explicit_date_format(data, name))


def count_digits(series: pl.Series) -> int:
    """Return the number of text cells with a digit."""
    return int(series.str.contains("[0-9]").sum())


def first_value(series: pl.Series) -> str | None:
    """Return the first text cell that is not missing."""
    position = series.is_not_null().arg_max()
    return None if position is None else series[position]


def infer_kind(
    dtype: pl.DataType,
    known: int,
    numeric: int,
    all_boolean: Callable[[], bool],
    all_dates: Callable[[], bool],
) -> ColumnKind | None:
    """Return the kind of a column, or None if it is text that is almost all numbers.

    Args:
        dtype: Its type.
        known: Training rows with a value.
        numeric: Values that are numbers.
        all_boolean: Returns whether every value is true, false, yes or no; only called for text.
        all_dates: Returns whether every value is an ISO 8601 date; only called for text.
    """
    if dtype == pl.Boolean:
        return "boolean"
    if is_date_type(dtype):
        return "datetime"
    if numeric == known or dtype.is_numeric():
        return "numeric"
    if numeric >= NUMERIC_THRESHOLD * known:
        return None
    if all_boolean():
        return "boolean"
    if all_dates():
        return "datetime"
    return "categorical"


def count_booleans(series: pl.Series) -> int:
    """Return the number of cells that are true, false, yes or no."""
    return len(series) - parse_booleans(series, accept_marks=False).null_count()


def count_dates(series: pl.Series) -> int:
    """Return the number of cells that are ISO 8601 dates."""
    return len(series) - to_microseconds(series, None).null_count()


def unreadable_mask(series: pl.Series, spec: ParseSpec) -> BoolArray:
    """Return a mask of values that cannot be parsed, shape (rows,)."""
    present = series.is_not_null()
    match spec.kind:
        case "numeric" if spec.number_format is not None and series.dtype == pl.String:
            return to_mask(present & parse_numbers(series, spec.number_format).is_null())
        case "numeric":
            numbers = series.to_frame().select(number_expr(series.name, series.dtype)).to_series()
            if series.dtype == pl.String:
                present &= series.str.to_lowercase() != "nan"
            elif series.dtype.is_float():
                present &= series.is_not_nan()
            return to_mask(present & numbers.is_null())
        case "boolean":
            return to_mask(present & parse_booleans(series, accept_marks=True).is_null())
        case "datetime":
            return to_mask(present & to_microseconds(series, spec.date_format).is_null())
        case "image":
            return to_mask(present if series.dtype != pl.String else ~present & present)
        case "categorical" | "text" | "tokens" | None:
            return np.zeros(len(series), dtype=np.bool_)
        case _:
            assert_never(spec.kind)


def invalid_mask(series: pl.Series, spec: ParseSpec, data: Data) -> BoolArray:
    """Return a mask of values that cannot be parsed or are not one of the configured levels."""
    levels = explicit_levels(data, series.name) if spec.kind == "categorical" else None
    if levels is None:
        return unreadable_mask(series, spec)
    key = casefold_level if categorical_settings(data, series.name).ignore_case else canonical_level
    known = {key(level) for level in levels}
    cells = level_text(series)
    unknown = [level for level in cells.unique().drop_nulls() if key(level) not in known]
    return to_mask(cells.is_in(unknown))


@dataclass(frozen=True, slots=True)
class InvalidValues:
    """Invalid values of a column.

    Attributes:
        rows: Source rows of the first few.
        values: The first few values, as in the file.
        count: Number of invalid values.
    """

    rows: tuple[int, ...]
    values: tuple[str, ...]
    count: int

    @classmethod
    def at(cls, series: pl.Series, rows: RowIndex, invalid: BoolArray) -> InvalidValues:
        """Return the values of a series, with their source rows, that a mask marks as invalid."""
        positions = np.flatnonzero(invalid)
        shown = positions[:MAX_SHOWN]
        return cls(
            tuple(int(rows[position]) for position in shown),
            tuple(str(series[int(position)]) for position in shown),
            len(positions),
        )

    def as_text(self, table: Table) -> tuple[str, str]:
        """Return the location of the first value, and the first values as text."""
        text = f"'{self.values[0]}'"
        for row, value in zip(self.rows[1:], self.values[1:], strict=True):
            text += f", '{value}' ({table.where(row).rpartition('/')[2]})"
        if self.count > MAX_SHOWN:
            text += f" and {self.count - MAX_SHOWN} more"
        return table.where(self.rows[0]), text


def almost_numeric_problem(
    table: Table, name: str, invalid: InvalidValues, known: int, numeric: int
) -> Problem:
    """Return a problem for a text column that is almost all numbers."""
    where, found = invalid.as_text(table)
    return Problem(
        where,
        f"a number in '{name}', as in {numeric:,} of {known:,} training rows",
        found,
        f"correct it, add it to data.csv.null_values, or set {column_key(name)}.kind: categorical",
    )


def invalid_values_problem(
    table: Table, name: str, invalid: InvalidValues, spec: ParseSpec, data: Data
) -> Problem:
    """Return a problem for values that cannot be parsed as the configured kind."""
    where, found = invalid.as_text(table)
    expected_number = "a number"
    if spec.number_format is not None:
        example = "1.234,5" if spec.number_format.decimal == "comma" else "1,234.5"
        unit = f" with {spec.number_format.unit}" if spec.number_format.unit else ""
        expected_number += f" (like {example}{unit})"
    expected_values: Mapping[ColumnKind | None, str] = {
        "numeric": expected_number,
        "boolean": "true or false (yes/no, 1/0)",
        "image": "the path of an image",
        "datetime": f"a date ({explicit_date_format(data, name) or 'ISO 8601, 2024-03-31'})",
    }
    fix = f"correct it, add it to data.csv.null_values, or change {column_key(name)}.kind"
    levels = explicit_levels(data, name)
    if spec.kind == "categorical" and levels is not None:
        listed = ", ".join(levels[:_LEVELS_SHOWN]) + (", …" if len(levels) > _LEVELS_SHOWN else "")
        expected = f"one of the categories in {column_key(name)}.levels ({listed})"
        fix = f"add it to {column_key(name)}.levels, correct it, or add it to data.csv.null_values"
        if casefold_level(invalid.values[0]) in map(casefold_level, levels):
            fix = f"set {column_key(name)}.ignore_case: true to ignore case"
        return Problem(where, expected, found, fix)
    if spec.kind == "datetime":
        fix = f"correct it, or set {column_key(name)}.format"
    expected = f"{expected_values[spec.kind]} in '{name}'"
    return Problem(where, expected, found, spec.hint or fix)
