"""Rows without a target: the error when no row has one, and the words that were read as missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from trainer.data.csv_files import read_csv_blocks
from trainer.data.tables import Table
from trainer.data.targets import known_target
from trainer.errors import Problem

_SHOWN = 3


def no_target(table: Table, targets: Sequence[str]) -> Problem:
    """The problem with a table in which no row has a value in every target column.

    Args:
        table: The table.
        targets: The target columns.
    """
    empty = [name for name in targets if not known_target(table.frame, [name]).any()]
    rows = f"{table.frame.height:,} rows"
    if not empty:
        found = f"none in {rows}, though each of them has values"
        expected = f"rows with a value in each of {_quoted(targets)}"
        fix = "fill them, or name one column"
        return Problem(table.name, expected, found, fix, "data.target")
    words = words_read_as_missing(table, empty[0])
    expected = f"rows with a target: values in {_quoted(empty)}"
    found = f"none with a target in {rows}"
    fix = "fill the column, or name another in data.target"
    if words:
        shown = words_text(words)
        found += f" ({shown})"
        fix = (
            f"if {_quoted(list(words)[:_SHOWN])} {'is a value' if len(words) == 1 else 'are values'}"
            ", set data.csv.null_values without it; else name another column in data.target"
        )
    return Problem(table.name, expected, found, fix, "data.target")


def words_read_as_missing(table: Table, name: str) -> Counter[str]:
    """The words of a column that `data.csv.null_values` turned into missing values, with their rows.

    Empty fields are no words. Only CSV has such words; its files are read again.
    """
    csv = table.csv.model_copy(update={"null_values": []})
    found: Counter[str] = Counter()
    for file, kind in zip(table.files, table.formats, strict=True):
        if kind != "csv":
            continue
        for frame in read_csv_blocks(Path(file.path), csv, [name]):
            words = frame[name].filter(frame[name].is_in(table.csv.null_values))
            found.update(words.to_list())
    return Counter(dict(found.most_common()))


def words_text(words: Counter[str]) -> str:
    """The most frequent of the words with their rows: `'NA' in 3 rows, read as missing`."""
    shown = ", ".join(f"'{word}'" for word in list(words)[:_SHOWN])
    rows = words.total()
    return f"{shown} in {rows:,} row{'' if rows == 1 else 's'}, read as missing"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
