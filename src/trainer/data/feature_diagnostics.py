"""What the first rows show of features that may be read as what they are not."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from trainer.config.data import Data
from trainer.config.nodes import column_key
from trainer.config.yaml_writer import flow_text
from trainer.data.categorical import CategoricalColumn
from trainer.data.column_settings import explicit_kind
from trainer.data.diagnostics import Column, Diagnostics
from trainer.data.label_lists import likely_separator
from trainer.data.message_lists import quoted, truncated
from trainer.data.numeric import NumericColumn
from trainer.data.values import number

INSPECTED_ROWS = 1_000
"""Rows that are looked at."""

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


def feature_diagnostics(first: pl.DataFrame, columns: Sequence[Column], data: Data) -> Diagnostics:
    """Numbers that may be codes or numbers of rows.

    Args:
        first: The feature columns of the first rows of the table.
        columns: The fitted columns.
        data: The `data` section.
    """
    found = Diagnostics()
    numeric = [
        column.name
        for column in columns
        if isinstance(column, NumericColumn) and explicit_kind(data, column.name) is None
    ]
    lists = []
    for column in columns:
        if isinstance(column, CategoricalColumn) and column.name not in data.columns:
            sign = likely_separator(first[column.name])
            if sign is not None:
                lists.append(
                    f"cells of '{column.name}' look like lists with '{sign}' between the parts, and "
                    "each list is a level; yes/no columns of the parts are better features, and "
                    f"{column_key(column.name)}.kind: categorical keeps the lists"
                )
    found.notes += truncated(lists, "columns of such cells")
    padded = [name for name in numeric if _begins_with_zero(first[name])]
    if padded:
        example = next(cell for cell in first[padded[0]] if cell and _PADDED.match(cell))
        found.notes.append(
            f"read as numbers, although values such as '{example}' begin with 0: "
            f"{quoted(padded, _SHOWN)}; "
            f"for codes set {column_key(padded[0])}.kind: categorical"
        )
    values = {name: _whole(first[name]) for name in numeric if name not in padded}
    rows = [name for name, numbers in values.items() if _counts_rows(name, numbers)]
    if rows:
        found.notes.append(
            f"features that look like numbers of the rows: {quoted(rows, _SHOWN)}; leave them out with "
            f"data.features.exclude: {flow_text(rows[:_SHOWN])}"
        )
    codes = [
        name
        for name, numbers in values.items()
        if name not in rows and _may_be_codes(name, numbers)
    ]
    if codes:
        found.hints.append(
            f"read as numbers, although they have few whole values or the name of a code: "
            f"{quoted(codes, _SHOWN)}; for categories set {column_key(codes[0])}.kind: categorical"
        )
    return found


def _begins_with_zero(series: pl.Series) -> bool:
    """Whether a cell of text is whole and begins with a 0 that a number does not have."""
    return series.dtype == pl.String and bool(series.str.contains(r"^0\d+$").any())


def _whole(series: pl.Series) -> pl.Series:
    """The numbers of a column, none unless all are whole."""
    numbers = series.to_frame().select(number(series.name, series.dtype)).to_series().drop_nulls()
    return numbers if bool((numbers == numbers.round()).all()) else numbers.clear()


def _counts_rows(name: str, numbers: pl.Series) -> bool:
    """Whether whole numbers all differ and count up by one from row to row, or are called so."""
    if len(numbers) < _ROW_NUMBERS or numbers.n_unique() < len(numbers):
        return False
    counting = bool((numbers.diff().drop_nulls() == 1).all())
    return counting or IDENTIFIER_NAME.search(name) is not None


def _may_be_codes(name: str, numbers: pl.Series) -> bool:
    """Whether whole numbers are few, but more than two, or have the name of a code."""
    distinct = numbers.n_unique()
    if distinct <= 2:
        return False
    few = distinct <= _CODES and distinct * _ROWS_PER_CODE <= len(numbers)
    return few or _CODE_NAME.search(name) is not None
