"""Which columns are features, and the names a config states that the table does not have."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from trainer.config.data import Csv, Data
from trainer.config.nodes import join_key
from trainer.data.csv_advice import NO_HEADER, advice
from trainer.data.csv_files import first_line_is_data
from trainer.data.label_lists import is_list_type
from trainer.data.nested_columns import nested_problem
from trainer.data.tables import SourceFile, Table
from trainer.errors import Problem, did_you_mean


def target_columns(data: Data) -> tuple[str, ...]:
    """The target columns, as a tuple."""
    return (data.target,) if isinstance(data.target, str) else tuple(data.target)


def split_column(data: Data) -> str | None:
    """The column that the splits look at, if any."""
    return data.split.column if data.split.by in ("group", "time", "column", "hash") else None


def feature_columns(table: Table, data: Data) -> tuple[list[str], list[Problem]]:
    """The feature columns in the table's order, and what is wrong with the names in the config.

    The target and the weight are never features; the column that splits is one when
    `data.features.include` names it.
    """
    known = table.frame.columns
    targets = target_columns(data)
    problems = [
        _missing(table, name, known, "data.target") for name in targets if name not in known
    ]
    for name, key in ((data.weight, "data.weight"), (split_column(data), "data.split.column")):
        if name is not None and name not in known:
            problems.append(_missing(table, name, known, key))
    schema = table.frame.schema
    for name in dict.fromkeys([*targets, data.weight, split_column(data)]):
        if name == data.target and name in known and is_list_type(schema[name]):
            continue  # Lists of labels; what else is in them is seen when they are read.
        if name is not None and name in known:
            nested = nested_problem(table, name, schema[name], feature=False)
            problems += [] if nested is None else [nested]
    taken = {*targets, data.weight}
    names = [name for name in known if name not in taken]
    if data.features.include is None:
        names = [name for name in names if name != split_column(data)]
    else:
        included, wrong = _matched(data.features.include, known, "data.features.include", table)
        problems += wrong
        names = [name for name in names if name in included]
    excluded, wrong = _matched(data.features.exclude, known, "data.features.exclude", table)
    problems += wrong
    names = [name for name in names if name not in excluded]
    problems += [
        _missing(table, name, known, join_key(("data", "columns", name)))
        for name in data.columns
        if name not in known
    ]
    if data.clean.outliers is not None:
        problems += [
            _missing(table, name, known, "data.clean.outliers.columns")
            for name in data.clean.outliers.columns or ()
            if name not in known
        ]
    if not names and not problems:
        found = f"only {', '.join(repr(name) for name in known[:5])} in {table.name}"
        fix = "give the table columns to learn from, or check data.features"
        problems.append(Problem("", "at least one feature column", found, fix, "data.features"))
    return names, problems


def _matched(
    patterns: Sequence[str], known: Sequence[str], key: str, table: Table
) -> tuple[set[str], list[Problem]]:
    found: set[str] = set()
    problems = []
    everything = set(known)
    for index, pattern in enumerate(patterns):
        names = {pattern} & everything or {name for name in known if fnmatchcase(name, pattern)}
        if not names:
            problems.append(_missing(table, pattern, known, f"{key}.{index}"))
        found |= names
    return found, problems


def _missing(table: Table, name: str, known: Sequence[str], key: str) -> Problem:
    listed = ", ".join(known[:8]) + (f" and {len(known) - 8} more" if len(known) > 8 else "")
    fix = did_you_mean(name, known, "name a column of the table")
    if table.formats[0] == "csv":
        odd = _reading_fix(table.files[0], table.csv.model_dump_json())
        if odd:
            fix = odd
        elif not table.csv.header and table.csv.names is None:
            fix = f"{fix}, or name them all with data.csv.names"
    return Problem("", f"a column of {table.name} ({listed})", f"'{name}'", fix, key)


@lru_cache(maxsize=1)
def _reading_fix(file: SourceFile, csv: str) -> str:
    """How a CSV file may have to be read; empty where nothing is odd. The same for all its columns."""
    path, settings = Path(file.path), Csv.model_validate_json(csv)
    better = advice(path, settings)
    if better is not None:
        return f"{better.found}: {better.fix}"
    if settings.header and first_line_is_data(path, settings):
        return f"the first line looks like data: if there is no header, set {NO_HEADER}"
    return ""
