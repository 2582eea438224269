"""Diagnose features that may have the wrong kind, from the first rows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from trainer.config.data import Data
from trainer.config.nodes import column_key
from trainer.config.yaml_writer import flow_text
from trainer.data.any_column import AnyColumn
from trainer.data.categorical import CategoricalColumn
from trainer.data.column_settings import explicit_kind
from trainer.data.diagnostics import Diagnostics
from trainer.data.label_lists import likely_separator
from trainer.data.message_lists import quoted, truncated
from trainer.data.numeric import NumericColumn
from trainer.data.values import number_expr

INSPECTED_ROWS = 1_000
"""Number of rows that are examined."""

_CODES, _ROWS_PER_CODE = 12, 10
_ROW_NUMBERS = 20
_SHOWN = 3
_CODE_NAME = re.compile(
    r"(^|[^a-z])(code|zip|zipcode|postcode|postal|plz|type|category|class)($|[^a-z])", re.IGNORECASE
)
_PADDED = re.compile(r"0\d+$")
IDENTIFIER_NAME = re.compile(
    r"(^|[^a-z])(id|ids|uuid|guid|key|index|row|nr|no)($|[^a-z])|_id$|Id$|ID$"
)


def feature_diagnostics(
    first: pl.DataFrame, columns: Sequence[AnyColumn], data: Data
) -> Diagnostics:
    """Return diagnostics about numbers that may be codes or row numbers, and text that may be lists.

    Args:
        first: The feature columns of the first rows of the table.
        columns: The fitted columns.
        data: The `data` section.
    """
    diagnostics = Diagnostics()
    numeric = [
        column.name
        for column in columns
        if isinstance(column, NumericColumn) and explicit_kind(data, column.name) is None
    ]
    list_notes = []
    for column in columns:
        if isinstance(column, CategoricalColumn) and column.name not in data.columns:
            separator = likely_separator(first[column.name])
            if separator is not None:
                list_notes.append(
                    f"cells of '{column.name}' look like lists separated by '{separator}', and each "
                    "list is a category; yes/no columns for the parts are better features; "
                    f"{column_key(column.name)}.kind: categorical keeps the lists"
                )
    diagnostics.notes += truncated(list_notes, "such columns")
    padded = [name for name in numeric if _has_leading_zeros(first[name])]
    if padded:
        example = next(cell for cell in first[padded[0]] if cell and _PADDED.match(cell))
        diagnostics.notes.append(
            f"read as numbers, although values such as '{example}' begin with 0: "
            f"{quoted(padded, _SHOWN)}; "
            f"for codes set {column_key(padded[0])}.kind: categorical"
        )
    # One query: a query for each of hundreds of columns takes seconds.
    numbers = first.select(
        number_expr(name, first[name].dtype) for name in numeric if name not in padded
    )
    values = {series.name: _integers(series.drop_nulls()) for series in numbers}
    rows = [name for name, numbers in values.items() if _are_row_numbers(name, numbers)]
    if rows:
        diagnostics.notes.append(
            f"features that look like row numbers: {quoted(rows, _SHOWN)}; exclude them with "
            f"data.features.exclude: {flow_text(rows[:_SHOWN])}"
        )
    codes = [
        name
        for name, numbers in values.items()
        if name not in rows and _may_be_codes(name, numbers)
    ]
    if codes:
        diagnostics.hints.append(
            f"read as numbers, although they have few distinct integers or are named like codes: "
            f"{quoted(codes, _SHOWN)}; for categories set {column_key(codes[0])}.kind: categorical"
        )
    return diagnostics


def _has_leading_zeros(series: pl.Series) -> bool:
    """Return whether a text cell is an integer with a leading zero."""
    return series.dtype == pl.String and bool(series.str.contains(r"^0\d+$").any())


def _integers(numbers: pl.Series) -> pl.Series:
    """Return numbers if all are whole, otherwise none."""
    return numbers if bool((numbers == numbers.round()).all()) else numbers.clear()


def _are_row_numbers(name: str, numbers: pl.Series) -> bool:
    """Return whether integers are unique and increase by 1 per row, or are named like ids."""
    if len(numbers) < _ROW_NUMBERS or numbers.n_unique() < len(numbers):
        return False
    counting = bool((numbers.diff().drop_nulls() == 1).all())
    return counting or IDENTIFIER_NAME.search(name) is not None


def _may_be_codes(name: str, numbers: pl.Series) -> bool:
    """Return whether integers have few distinct values (more than two), or a code's name."""
    distinct = numbers.n_unique()
    if distinct <= 2:
        return False
    is_few = distinct <= _CODES and distinct * _ROWS_PER_CODE <= len(numbers)
    return is_few or _CODE_NAME.search(name) is not None
