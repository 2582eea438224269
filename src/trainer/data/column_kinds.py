"""Infer the kind of each feature column from its training rows.

    numeric      every value is a number (including 0 and 1)
    boolean      every value is true, false, yes or no, in any case; or the type is Boolean
    datetime     every value is an ISO 8601 date or time; or the type is a date or time
    categorical  anything else

Other text may still be numbers or dates in another format: see `text_formats`. A text column with at
least 90%, but not all, plain numbers is probably an error rather than a category, and is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import polars as pl

from trainer.config.data import ColumnKind, Data
from trainer.config.nodes import column_key
from trainer.data.arrays import BoolArray, RowIndex
from trainer.data.column_settings import categorical_settings, explicit_kind, explicit_levels
from trainer.data.nested_columns import nested_problem
from trainer.data.number_formats import NumberFormat, parse_numbers
from trainer.data.tables import Table
from trainer.data.text_formats import (
    ParseSpec,
    TextFormatDetector,
    detected_spec,
    explicit_date_format,
    needs_detection,
)
from trainer.data.values import (
    canonical_level,
    casefold_level,
    column_blocks,
    is_date_type,
    level_text,
    looks_like_boolean,
    looks_like_date,
    number_expr,
    parse_booleans,
    to_mask,
    to_microseconds,
)
from trainer.errors import Problem

NUMERIC_THRESHOLD = 0.9
MAX_SHOWN = 3
_LEVELS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class InferredKinds:
    """The inferred kinds of the columns that have training values.

    Attributes:
        kinds: Kind by column, in the table's order.
        empty: Columns without a value in the training rows.
        parse_specs: How each column is parsed.
    """

    kinds: dict[str, ColumnKind]
    empty: tuple[str, ...]
    parse_specs: dict[str, ParseSpec]

    @property
    def number_formats(self) -> dict[str, NumberFormat]:
        """The number formats of the columns that are not plain numbers."""
        return number_formats(self.parse_specs)


def number_formats(parse_specs: Mapping[str, ParseSpec]) -> dict[str, NumberFormat]:
    """Return the number formats of the columns that are not plain numbers."""
    return {
        name: spec.number_format
        for name, spec in parse_specs.items()
        if spec.number_format is not None
    }


def infer_kinds(
    table: Table, names: Sequence[str], rows: RowIndex, data: Data
) -> tuple[InferredKinds, list[Problem]]:
    """Return the kind of each column, configured or inferred, and problems with invalid values.

    Args:
        table: The table.
        names: Feature columns.
        rows: The training rows.
        data: The `data` section; `columns.<name>.kind` sets a kind.
    """
    parse_specs: dict[str, ParseSpec] = {}
    empty: list[str] = []
    problems: list[Problem] = []
    schema = table.frame.schema
    nested = [nested_problem(table, name, schema[name]) for name in names]
    problems += [problem for problem in nested if problem is not None]
    flat = [name for name, problem in zip(names, nested, strict=True) if problem is None]
    for block in column_blocks(flat, len(rows)):
        part = table.frame.select(block)[rows]
        filled = _counts(part, [pl.col(name).is_not_null().sum() for name in block])
        parsed = _counts(
            part, [number_expr(name, schema[name]).is_not_null().sum() for name in block]
        )
        for name, known, numeric in zip(block, filled, parsed, strict=True):
            if known == 0 or (schema[name].is_float() and numeric == 0):
                empty.append(name)
                continue
            series = part[name]
            spec = _parse_spec(series, known, numeric, data)
            if spec.kind is None:
                values = InvalidValues.at(
                    series, rows, unreadable_mask(series, ParseSpec("numeric"))
                )
                problems.append(almost_numeric_problem(table, name, values, known, numeric))
                continue
            parse_specs[name] = spec
            if explicit_kind(data, name) is not None:
                invalid = invalid_mask(series, spec, data)
                if invalid.any():
                    values = InvalidValues.at(series, rows, invalid)
                    problems.append(invalid_values_problem(table, name, values, spec, data))
    kinds = {name: spec.kind for name, spec in parse_specs.items() if spec.kind is not None}
    return InferredKinds(kinds, tuple(empty), parse_specs), problems


def _counts(frame: pl.DataFrame, expressions: Sequence[pl.Expr]) -> list[int]:
    named = [expression.alias(str(index)) for index, expression in enumerate(expressions)]
    return list(frame.select(named).row(0))


def _parse_spec(series: pl.Series, known: int, numeric: int, data: Data) -> ParseSpec:
    """Return how a column with values is parsed."""
    name, configured = series.name, explicit_kind(data, series.name)
    basic_kind = configured or _inferred(series, known, numeric)
    spec = default_parse_spec(data, name, series.dtype, basic_kind)
    if series.dtype != pl.String:
        return spec
    is_certain = configured is None and basic_kind in ("boolean", "datetime")
    is_checked = configured in ("numeric", "datetime")
    invalid = int(np.count_nonzero(unreadable_mask(series, spec))) if is_checked else 0
    if is_certain or not needs_detection(
        data,
        name,
        basic_kind,
        known=known,
        invalid=invalid,
        digits=0 if numeric == known else count_digits(series),
        first=first_value(series),
    ):
        return spec
    detector = TextFormatDetector(data)
    detector.add(series)
    return detected_spec(data, name, basic_kind, detector)


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


def _inferred(series: pl.Series, known: int, numeric: int) -> ColumnKind | None:
    sample = series.drop_nulls().head(3).to_list()
    return infer_kind(
        series.dtype,
        known,
        numeric,
        lambda: (
            all(looks_like_boolean(word) for word in sample) and count_booleans(series) == known
        ),
        lambda: all(looks_like_date(word) for word in sample) and count_dates(series) == known,
    )


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
        case "categorical" | None:
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
        "datetime": f"a date ({explicit_date_format(data, name) or 'ISO 8601, 2024-03-31'})",
    }
    fix = f"correct it, add it to data.csv.null_values, or change {column_key(name)}.kind"
    levels = explicit_levels(data, name)
    if spec.kind == "categorical" and levels is not None:
        listed = ", ".join(levels[:_LEVELS_SHOWN]) + (", …" if len(levels) > _LEVELS_SHOWN else "")
        expected = f"a level of '{name}' as in {column_key(name)}.levels ({listed})"
        fix = f"add it to {column_key(name)}.levels, correct it, or add it to data.csv.null_values"
        if casefold_level(invalid.values[0]) in map(casefold_level, levels):
            fix = f"set {column_key(name)}.ignore_case: true to ignore case"
        return Problem(where, expected, found, fix)
    if spec.kind == "datetime":
        fix = f"correct it, or set {column_key(name)}.format"
    expected = f"{expected_values[spec.kind]} in '{name}'"
    return Problem(where, expected, found, spec.hint or fix)
