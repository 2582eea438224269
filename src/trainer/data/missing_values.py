"""Missing values: the error if no row has a target, and counts of text read as missing."""

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
from trainer.errors import Problem, pluralize

_SHOWN = 3


def no_target_problem(table: Table, targets: Sequence[str]) -> Problem:
    """Return the problem with a table in which no row has a value in every target column.

    Args:
        table: The table.
        targets: The target columns.
    """
    empty = [name for name in targets if not target_mask(table.frame, [name]).any()]
    rows = pluralize(table.frame.height, "row")
    if not empty:
        found = f"none in {rows}, although each column has values"
        expected = f"rows with a value in each of {quoted(targets)}"
        fix = "fill them, or use one column"
        return Problem(table.name, expected, found, fix, "data.target")
    counts = count_null_values(table, empty[:1])[empty[0]]
    expected = f"rows with a target: values in {quoted(empty)}"
    found = f"none with a target in {rows}"
    fix = "fill the column, or set data.target to another"
    if counts:
        shown = null_values_text(counts)
        found += f" ({shown})"
        fix = (
            f"if {quoted(list(counts)[:_SHOWN])} {'is a value' if len(counts) == 1 else 'are values'}"
            f", set data.csv.null_values to a list without {'it' if len(counts) == 1 else 'them'}; "
            "otherwise set data.target to another column"
        )
    return Problem(table.name, expected, found, fix, "data.target")


def count_null_values(table: Table, names: Sequence[str]) -> dict[str, Counter[str]]:
    """Count the values of each column that are read as missing because of `data.csv.null_values`.

    Empty fields are not counted. Only CSV files have such values; they are read again, once for all
    folds.
    """
    kinds = zip(table.files, table.formats, strict=True)
    files = tuple(file for file, kind in kinds if kind == "csv")
    counts = _null_value_counts(files, table.csv.model_dump_json(), tuple(names)) if names else ()
    return dict(zip(names, map(Counter, counts), strict=True))


@lru_cache(maxsize=16)
def _null_value_counts(
    files: tuple[SourceFile, ...], csv: str, names: tuple[str, ...]
) -> tuple[Mapping[str, int], ...]:
    """Return the counts for each column, the most frequent first; files are cached by their hash."""
    settings = Csv.model_validate_json(csv)
    literal = settings.model_copy(update={"null_values": []})
    counts = {name: Counter[str]() for name in names}
    for file in files:
        for frame in read_csv_blocks(Path(file.path), literal, names):
            for name, counter in counts.items():
                is_missing = frame[name].is_in(settings.null_values)
                counter.update(frame[name].filter(is_missing).to_list())
    return tuple(dict(counter.most_common()) for counter in counts.values())


def null_values_text(counts: Counter[str]) -> str:
    """Return the most frequent values and their rows: `'NA' in 3 rows, read as missing`."""
    shown = quoted(list(counts)[:_SHOWN])
    rows = counts.total()
    return f"{shown} in {pluralize(rows, 'row')}, read as missing"
