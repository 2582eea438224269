"""Which kind each feature column has, from its training rows alone.

    numeric      every value is a number (0 and 1 too)
    boolean      every value is true, false, yes or no, in any case; or the type says so
    datetime     every value is an ISO 8601 date or time; or the type says so
    categorical  anything else

Text that is none of the first three may still be numbers or dates written in another way: see
`readings`. A column of text of which at least nine in ten, but not all, values are plain numbers is a
mistake more often than a category, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import polars as pl

from trainer.config.data import Data, Kind
from trainer.config.nodes import column_key
from trainer.data.arrays import Bools, Rows
from trainer.data.nested import nested_problem
from trainer.data.number_formats import NumberFormat, read_numbers
from trainer.data.readings import Reading, TextCensus, is_undecided, settled, stated_format
from trainer.data.settings import categorical_settings, stated_kind, stated_levels
from trainer.data.tables import Table
from trainer.data.values import (
    boolean,
    column_blocks,
    folded,
    is_dated,
    level_text,
    looks_boolean,
    looks_dated,
    microseconds,
    number,
    plain,
    true_rows,
)
from trainer.errors import Problem

ALMOST_ALL = 0.9
SHOWN = 3
_LEVELS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class KindFinding:
    """The kinds of the columns that have training values.

    Attributes:
        kinds: Kind by column, in the table's order.
        empty: Columns without a value in the training rows.
        readings: How each column is read.
    """

    kinds: dict[str, Kind]
    empty: tuple[str, ...]
    readings: dict[str, Reading]

    @property
    def numbers(self) -> dict[str, NumberFormat]:
        """How numbers are written, of the columns where they are not plain."""
        return number_formats(self.readings)


def number_formats(readings: Mapping[str, Reading]) -> dict[str, NumberFormat]:
    """How numbers are written, of the columns where they are not plain."""
    return {name: each.number for name, each in readings.items() if each.number is not None}


def find_kinds(
    table: Table, names: Sequence[str], rows: Rows, data: Data
) -> tuple[KindFinding, list[Problem]]:
    """The kind of each column, stated or inferred, and values that do not fit it.

    Args:
        table: The table.
        names: Feature columns.
        rows: The training rows.
        data: The `data` section; `columns.<name>.kind` states a kind.
    """
    readings: dict[str, Reading] = {}
    empty: list[str] = []
    problems: list[Problem] = []
    schema = table.frame.schema
    nested = [nested_problem(table, name, schema[name]) for name in names]
    problems += [problem for problem in nested if problem is not None]
    flat = [name for name, problem in zip(names, nested, strict=True) if problem is None]
    for block in column_blocks(flat, len(rows)):
        part = table.frame.select(block)[rows]
        filled = _counts(part, [pl.col(name).is_not_null().sum() for name in block])
        parsed = _counts(part, [number(name, schema[name]).is_not_null().sum() for name in block])
        for name, known, numeric in zip(block, filled, parsed, strict=True):
            if known == 0 or (schema[name].is_float() and numeric == 0):
                empty.append(name)
                continue
            series = part[name]
            reading = _reading(series, known, numeric, data)
            if reading.kind is None:
                values = WrongValues.at(series, rows, unreadable(series, Reading("numeric")))
                problems.append(almost_numeric(table, name, values, known, numeric))
                continue
            readings[name] = reading
            if stated_kind(data, name) is not None:
                wrong = misread(series, reading, data)
                if wrong.any():
                    values = WrongValues.at(series, rows, wrong)
                    problems.append(misfits(table, name, values, reading, data))
    kinds = {name: each.kind for name, each in readings.items() if each.kind is not None}
    return KindFinding(kinds, tuple(empty), readings), problems


def _counts(frame: pl.DataFrame, expressions: Sequence[pl.Expr]) -> list[int]:
    named = [expression.alias(str(index)) for index, expression in enumerate(expressions)]
    return list(frame.select(named).row(0))


def _reading(series: pl.Series, known: int, numeric: int, data: Data) -> Reading:
    """How a column with values is read."""
    name, stated = series.name, stated_kind(data, series.name)
    guess = stated or _inferred(series, known, numeric)
    reading = plain_reading(data, name, series.dtype, guess)
    if series.dtype != pl.String:
        return reading
    is_settled = stated is None and guess in ("boolean", "datetime")
    is_checked = stated in ("numeric", "datetime")
    wrong = int(np.count_nonzero(unreadable(series, reading))) if is_checked else 0
    if is_settled or not is_undecided(
        data,
        name,
        guess,
        known=known,
        wrong=wrong,
        digits=0 if numeric == known else count_digits(series),
        first=first_value(series),
    ):
        return reading
    census = TextCensus(data)
    census.add(series)
    return settled(data, name, guess, census)


def plain_reading(data: Data, name: str, dtype: pl.DataType, kind: Kind | None) -> Reading:
    """How a column of a kind is read before its text is counted."""
    if kind != "datetime":
        return Reading(kind)
    # Text that is found to be dates without a stated format is ISO 8601.
    is_found = dtype == pl.String and stated_kind(data, name) is None
    return Reading(kind, date=None if is_found else stated_format(data, name))


def count_digits(series: pl.Series) -> int:
    """Cells of text with a digit."""
    return int(series.str.contains("[0-9]").sum())


def first_value(series: pl.Series) -> str | None:
    """The first cell of text that is not missing."""
    place = series.is_not_null().arg_max()
    return None if place is None else series[place]


def _inferred(series: pl.Series, known: int, numeric: int) -> Kind | None:
    sample = series.drop_nulls().head(3).to_list()
    return kind_of(
        series.dtype,
        known,
        numeric,
        lambda: all(looks_boolean(word) for word in sample) and count_booleans(series) == known,
        lambda: all(looks_dated(word) for word in sample) and count_dates(series) == known,
    )


def kind_of(
    dtype: pl.DataType,
    known: int,
    numeric: int,
    all_boolean: Callable[[], bool],
    all_dates: Callable[[], bool],
) -> Kind | None:
    """The kind of a column, or None when it is text that is almost all numbers.

    Args:
        dtype: Its type.
        known: Training rows with a value.
        numeric: Those that are numbers.
        all_boolean: Whether every value is true, false, yes or no; asked of text only.
        all_dates: Whether every value is an ISO 8601 date; asked of text only.
    """
    if dtype == pl.Boolean:
        return "boolean"
    if is_dated(dtype):
        return "datetime"
    if numeric == known or dtype.is_numeric():
        return "numeric"
    if numeric >= ALMOST_ALL * known:
        return None
    if all_boolean():
        return "boolean"
    if all_dates():
        return "datetime"
    return "categorical"


def count_booleans(series: pl.Series) -> int:
    """Cells that are true, false, yes or no."""
    return len(series) - boolean(series, marks=False).null_count()


def count_dates(series: pl.Series) -> int:
    """Cells that are ISO 8601 dates."""
    return len(series) - microseconds(series, None).null_count()


def unreadable(series: pl.Series, reading: Reading) -> Bools:
    """Where a value is there but cannot be read so; shape (rows,)."""
    there = series.is_not_null()
    match reading.kind:
        case "numeric" if reading.number is not None and series.dtype == pl.String:
            return true_rows(there & read_numbers(series, reading.number).is_null())
        case "numeric":
            numbers = series.to_frame().select(number(series.name, series.dtype)).to_series()
            if series.dtype == pl.String:
                there &= series.str.to_lowercase() != "nan"
            elif series.dtype.is_float():
                there &= series.is_not_nan()
            return true_rows(there & numbers.is_null())
        case "boolean":
            return true_rows(there & boolean(series, marks=True).is_null())
        case "datetime":
            return true_rows(there & microseconds(series, reading.date).is_null())
        case "categorical" | None:
            return np.zeros(len(series), dtype=np.bool_)
        case _:
            assert_never(reading.kind)


def misread(series: pl.Series, reading: Reading, data: Data) -> Bools:
    """Where a value is there but cannot be read so, or is not one of the column's stated levels;
    shape (rows,).
    """
    levels = stated_levels(data, series.name) if reading.kind == "categorical" else None
    if levels is None:
        return unreadable(series, reading)
    key = folded if categorical_settings(data, series.name).ignore_case else plain
    known = {key(level) for level in levels}
    words = level_text(series)
    strange = [word for word in words.unique().drop_nulls() if key(word) not in known]
    return true_rows(words.is_in(strange))


@dataclass(frozen=True, slots=True)
class WrongValues:
    """Values that do not fit a column.

    Attributes:
        rows: Source rows of the first few.
        values: As they are written.
        count: How many there are.
    """

    rows: tuple[int, ...]
    values: tuple[str, ...]
    count: int

    @classmethod
    def at(cls, series: pl.Series, rows: Rows, wrong: Bools) -> WrongValues:
        """Those of a series, whose source rows are given, where `wrong` says."""
        places = np.flatnonzero(wrong)
        shown = places[:SHOWN]
        return cls(
            tuple(int(rows[place]) for place in shown),
            tuple(str(series[int(place)]) for place in shown),
            len(places),
        )

    def in_words(self, table: Table) -> tuple[str, str]:
        """The place of the first, and the first ones in words."""
        words = f"'{self.values[0]}'"
        for row, value in zip(self.rows[1:], self.values[1:], strict=True):
            words += f", '{value}' ({table.where(row).rpartition('/')[2]})"
        if self.count > SHOWN:
            words += f" and {self.count - SHOWN} more"
        return table.where(self.rows[0]), words


def almost_numeric(
    table: Table, name: str, wrong: WrongValues, known: int, numeric: int
) -> Problem:
    """What is wrong with a column of text that is almost all numbers."""
    where, words = wrong.in_words(table)
    return Problem(
        where,
        f"a number in '{name}', as in {numeric:,} of {known:,} training rows",
        words,
        f"correct it, add it to data.csv.null_values, or set {column_key(name)}.kind: categorical",
    )


def misfits(table: Table, name: str, wrong: WrongValues, reading: Reading, data: Data) -> Problem:
    """What is wrong with values that cannot be read as the stated kind."""
    where, words = wrong.in_words(table)
    number = "a number"
    if reading.number is not None:
        comma = "1.234,5" if reading.number.decimal == "comma" else "1,234.5"
        number += (
            f" (written like {comma}{f' with {reading.number.unit}' * bool(reading.number.unit)})"
        )
    meaning: Mapping[Kind | None, str] = {
        "numeric": number,
        "boolean": "true or false (yes/no, 1/0)",
        "datetime": f"a date ({stated_format(data, name) or 'ISO 8601, 2024-03-31'})",
    }
    fix = f"correct it, add it to data.csv.null_values, or change {column_key(name)}.kind"
    levels = stated_levels(data, name)
    if reading.kind == "categorical" and levels is not None:
        listed = ", ".join(levels[:_LEVELS_SHOWN]) + (", …" if len(levels) > _LEVELS_SHOWN else "")
        expected = f"a level of '{name}' as in {column_key(name)}.levels ({listed})"
        fix = f"add it to {column_key(name)}.levels, correct it, or add it to data.csv.null_values"
        if folded(wrong.values[0]) in map(folded, levels):
            fix = f"set {column_key(name)}.ignore_case: true to ignore case"
        return Problem(where, expected, words, fix)
    if reading.kind == "datetime":
        fix = f"correct it, or set {column_key(name)}.format"
    return Problem(where, f"{meaning[reading.kind]} in '{name}'", words, reading.hint or fix)
