"""Rows without a target: the error when no row has one, and the words that were read as missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from trainer.config.data import Csv
from trainer.data.csv_files import read_csv_blocks
from trainer.data.message_lists import quoted
from trainer.data.tables import SourceFile, Table
from trainer.data.targets import target_mask
from trainer.errors import Problem

_SHOWN = 3


def no_target_problem(table: Table, targets: Sequence[str]) -> Problem:
    """The problem with a table in which no row has a value in every target column.

    Args:
        table: The table.
        targets: The target columns.
    """
    empty = [name for name in targets if not target_mask(table.frame, [name]).any()]
    rows = f"{table.frame.height:,} rows"
    if not empty:
        found = f"none in {rows}, though each of them has values"
        expected = f"rows with a value in each of {quoted(targets)}"
        fix = "fill them, or name one column"
        return Problem(table.name, expected, found, fix, "data.target")
    words = count_null_values(table, empty[:1])[empty[0]]
    expected = f"rows with a target: values in {quoted(empty)}"
    found = f"none with a target in {rows}"
    fix = "fill the column, or name another in data.target"
    if words:
        shown = null_values_text(words)
        found += f" ({shown})"
        fix = (
            f"if {quoted(list(words)[:_SHOWN])} {'is a value' if len(words) == 1 else 'are values'}"
            ", set data.csv.null_values without it; else name another column in data.target"
        )
    return Problem(table.name, expected, found, fix, "data.target")


def count_null_values(table: Table, names: Sequence[str]) -> dict[str, Counter[str]]:
    """The words of each column that `data.csv.null_values` turned into missing values, with their rows.

    Empty fields are no words. Only CSV has such words; its files are read again, once for all folds.
    """
    kinds = zip(table.files, table.formats, strict=True)
    files = tuple(file for file, kind in kinds if kind == "csv")
    found = _words_of(files, table.csv.model_dump_json(), tuple(names)) if names else ()
    return dict(zip(names, map(Counter, found), strict=True))


@lru_cache(maxsize=16)
def _words_of(
    files: tuple[SourceFile, ...], csv: str, names: tuple[str, ...]
) -> tuple[Mapping[str, int], ...]:
    """The words of each column with their rows, the most frequent first; the hash of a file is part of
    the key.
    """
    settings = Csv.model_validate_json(csv)
    literal = settings.model_copy(update={"null_values": []})
    found = {name: Counter[str]() for name in names}
    for file in files:
        for frame in read_csv_blocks(Path(file.path), literal, names):
            for name, words in found.items():
                is_missing = frame[name].is_in(settings.null_values)
                words.update(frame[name].filter(is_missing).to_list())
    return tuple(dict(words.most_common()) for words in found.values())


def null_values_text(words: Counter[str]) -> str:
    """The most frequent of the words with their rows: `'NA' in 3 rows, read as missing`."""
    shown = quoted(list(words)[:_SHOWN])
    rows = words.total()
    return f"{shown} in {rows:,} row{'' if rows == 1 else 's'}, read as missing"
