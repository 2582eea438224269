"""Which kind each feature column has, from its training rows alone.

    numeric      every value is a number (0 and 1 too)
    boolean      every value is true, false, yes or no, in any case; or the type says so
    datetime     every value is an ISO 8601 date or time; or the type says so
    categorical  anything else

A column of text of which at least nine in ten, but not all, values are numbers is a mistake more
often than a category, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import polars as pl

from trainer.config.data import Data, Kind
from trainer.data.arrays import Bools, Rows
from trainer.data.tables import Table
from trainer.data.typed_files import nested_problem
from trainer.data.values import (
    boolean,
    column_blocks,
    looks_boolean,
    looks_dated,
    microseconds,
    number,
    true_rows,
)
from trainer.errors import Problem

ALMOST_ALL = 0.9
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class KindFinding:
    """The kinds of the columns that have training values.

    Attributes:
        kinds: Kind by column, in the table's order.
        empty: Columns without a value in the training rows.
    """

    kinds: dict[str, Kind]
    empty: tuple[str, ...]


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
    kinds: dict[str, Kind] = {}
    empty: list[str] = []
    problems: list[Problem] = []
    schema = table.frame.schema
    nested = [nested_problem(table.name, name, schema[name]) for name in names]
    problems += [problem for problem in nested if problem is not None]
    flat = [name for name, problem in zip(names, nested, strict=True) if problem is None]
    for block in column_blocks(flat, len(rows)):
        part = table.frame.select(block)[rows]
        filled = _counts(part, [pl.col(name).is_not_null().sum() for name in block])
        parsed = _counts(part, [number(name, schema[name]).is_not_null().sum() for name in block])
        for name, known, numeric in zip(block, filled, parsed, strict=True):
            stated = data.columns[name].kind if name in data.columns else None
            if known == 0 or (schema[name].is_float() and numeric == 0):
                empty.append(name)
                continue
            if stated is None:
                kind = _inferred(part[name], known, numeric)
                if kind is None:
                    problems.append(_almost_numeric(table, part[name], rows, known, numeric))
                    continue
                kinds[name] = kind
                continue
            kinds[name] = stated
            wrong = unreadable(part[name], stated, _date_format(data, name))
            if wrong.any():
                problems.append(_misfits(table, part[name], rows, wrong, stated, data))
    return KindFinding(kinds, tuple(empty)), problems


def _counts(frame: pl.DataFrame, expressions: Sequence[pl.Expr]) -> list[int]:
    named = [expression.alias(str(index)) for index, expression in enumerate(expressions)]
    return list(frame.select(named).row(0))


def _inferred(series: pl.Series, known: int, numeric: int) -> Kind | None:
    """The kind, or None when a text column is almost all numbers."""
    dtype = series.dtype
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_temporal():
        return "datetime"
    if numeric == known or dtype.is_numeric():
        return "numeric"
    if numeric >= ALMOST_ALL * known:
        return None
    sample = series.drop_nulls().head(3).to_list()
    if all(looks_boolean(word) for word in sample) and _all_boolean(series, known):
        return "boolean"
    if all(looks_dated(word) for word in sample) and _all_dates(series, known):
        return "datetime"
    return "categorical"


def _all_boolean(series: pl.Series, known: int) -> bool:
    return len(series) - boolean(series, marks=False).null_count() == known


def _all_dates(series: pl.Series, known: int) -> bool:
    return len(series) - microseconds(series, None).null_count() == known


def unreadable(series: pl.Series, kind: Kind, date_format: str | None) -> Bools:
    """Where a value is there but cannot be read as the kind; shape (rows,)."""
    there = series.is_not_null()
    match kind:
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
            return true_rows(there & microseconds(series, date_format).is_null())
        case "categorical":
            return np.zeros(len(series), dtype=np.bool_)
        case _:
            assert_never(kind)


def _date_format(data: Data, name: str) -> str | None:
    own = data.columns[name].format if name in data.columns else None
    return data.datetime.format if own is None else own


def _places(table: Table, rows: Rows, wrong: Bools, series: pl.Series) -> tuple[str, str]:
    """The place of the first wrong value, and the first values in words."""
    at = np.flatnonzero(wrong)
    values = [f"'{series[int(index)]}'" for index in at[:_SHOWN]]
    lines = [table.where(int(rows[index])).rpartition("/")[2] for index in at[1:_SHOWN]]
    words = values[0]
    words += "".join(f", {value} ({line})" for value, line in zip(values[1:], lines, strict=True))
    if len(at) > _SHOWN:
        words += f" and {len(at) - _SHOWN} more"
    return table.where(int(rows[at[0]])), words


def _almost_numeric(
    table: Table, series: pl.Series, rows: Rows, known: int, numeric: int
) -> Problem:
    wrong = unreadable(series, "numeric", None)
    where, words = _places(table, rows, wrong, series)
    name = series.name
    return Problem(
        where,
        f"a number in '{name}', as in {numeric:,} of {known:,} training rows",
        words,
        f"Correct it, add it to data.csv.null_values, or set data.columns.{name}.kind: categorical.",
    )


def _misfits(
    table: Table, series: pl.Series, rows: Rows, wrong: Bools, kind: Kind, data: Data
) -> Problem:
    where, words = _places(table, rows, wrong, series)
    name = series.name
    meaning: Mapping[Kind, str] = {
        "numeric": "a number",
        "boolean": "true or false (yes/no, 1/0)",
        "datetime": f"a date ({_date_format(data, name) or 'ISO 8601, 2024-03-31'})",
        "categorical": "a category",
    }
    fix = f"Correct it, add it to data.csv.null_values, or change data.columns.{name}.kind."
    if kind == "datetime":
        fix = f"Correct it, or set data.columns.{name}.format."
    return Problem(where, f"{meaning[kind]} in '{name}'", words, fix)
