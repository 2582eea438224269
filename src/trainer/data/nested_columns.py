"""Nested columns, whose cells are lists, objects or bytes: the error if one is used."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from trainer.config.yaml_writer import flow_text
from trainer.data.ndjson_files import NESTED, ndjson_line, read_ndjson_blocks
from trainer.data.tables import Table
from trainer.data.values import is_nested
from trainer.errors import Problem


def nested_problem(
    table: Table, name: str, dtype: pl.DataType, *, feature: bool = True
) -> Problem | None:
    """Return the problem with a column whose cells are lists, objects or bytes; None for others.

    Args:
        table: The table; its frame is not used.
        name: The column.
        dtype: Its type.
        feature: Whether it is used as a feature, which can be excluded.
    """
    if not is_nested(dtype):
        return None
    where, found = table.name, f"values of type {dtype}"
    if dtype == NESTED and "ndjson" in table.formats:
        where, found = _first_nested(table, name), "a list or an object"
    elif dtype == NESTED and "npz" in table.formats:
        found = "an array that does not have one number, string or date per row"
    fix = f"set data.features.exclude: {flow_text([name])}, or split it into columns"
    if not feature:
        fix = "use a column with one value per row"
    return Problem(where, f"single values in '{name}'", found, fix)


def _first_nested(table: Table, name: str) -> str:
    """Return the location of the first list or object of an NDJSON column."""
    for file, kind in zip(table.files, table.formats, strict=True):
        if kind != "ndjson":
            continue
        before = 0
        for frame in read_ndjson_blocks(Path(file.path)):
            if frame.schema.get(name) == NESTED:
                texts = frame[name].list.first()
                rows = (texts.str.starts_with("[") | texts.str.starts_with("{")).arg_true()
                if len(rows):
                    return f"{file.path}:{ndjson_line(Path(file.path), before + int(rows[0]))}"
            before += frame.height
    return table.name
