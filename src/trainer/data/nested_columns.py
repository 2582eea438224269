"""Columns whose cells are no single values: the error where one is used."""

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
    """What is wrong with a column whose cells are lists, objects or bytes; None where they are not.

    Args:
        table: Its files; its frame does not matter.
        name: The column.
        dtype: Its type.
        feature: Whether it is used as a feature, which may be left out.
    """
    if not is_nested(dtype):
        return None
    where, found = table.name, f"values of type {dtype}"
    if dtype == NESTED and "ndjson" in table.formats:
        where, found = _first_nested(table, name), "a list or an object"
    elif dtype == NESTED and "npz" in table.formats:
        found = "an array without a number, a text or a date for each row"
    fix = f"leave it out with data.features.exclude: {flow_text([name])}, or split it into columns"
    if not feature:
        fix = "name a column with one value a row"
    return Problem(where, f"single values in '{name}'", found, fix)


def _first_nested(table: Table, name: str) -> str:
    """The place of the first list or object of a column of NDJSON."""
    for file, kind in zip(table.files, table.formats, strict=True):
        if kind != "ndjson":
            continue
        before = 0
        for frame in read_ndjson_blocks(Path(file.path)):
            if frame.schema.get(name) == NESTED:
                texts = frame[name].list.first()
                at = (texts.str.starts_with("[") | texts.str.starts_with("{")).arg_true()
                if len(at):
                    return f"{file.path}:{ndjson_line(Path(file.path), before + int(at[0]))}"
            before += frame.height
    return table.name
