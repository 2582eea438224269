"""Select the feature columns, and report column names of the config that are not in the table."""

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
    """Return the target columns as a tuple."""
    return (data.target,) if isinstance(data.target, str) else tuple(data.target)


def split_column(data: Data) -> str | None:
    """Return the column that the split uses, if any."""
    return data.split.column if data.split.by in ("group", "time", "column", "hash") else None


def feature_columns(table: Table, data: Data) -> tuple[list[str], list[Problem]]:
    """Return the feature columns in the table's order, and problems with names in the config.

    The target and weight columns are never features; the split column is one only if
    `data.features.include` matches it.
    """
    available = table.frame.columns
    targets = target_columns(data)
    problems = [
        _missing(table, name, available, "data.target") for name in targets if name not in available
    ]
    for name, key in ((data.weight, "data.weight"), (split_column(data), "data.split.column")):
        if name is not None and name not in available:
            problems.append(_missing(table, name, available, key))
    schema = table.frame.schema
    for name in dict.fromkeys([*targets, data.weight, split_column(data)]):
        if name == data.target and name in available and is_list_type(schema[name]):
            continue  # Lists of labels; their content is checked when they are read.
        if name is not None and name in available:
            nested = nested_problem(table, name, schema[name], feature=False)
            problems += [] if nested is None else [nested]
    not_features = {*targets, data.weight}
    names = [name for name in available if name not in not_features]
    if data.features.include is None:
        names = [name for name in names if name != split_column(data)]
    else:
        included, unmatched = _match(
            data.features.include, available, "data.features.include", table
        )
        problems += unmatched
        names = [name for name in names if name in included]
    excluded, unmatched = _match(data.features.exclude, available, "data.features.exclude", table)
    problems += unmatched
    names = [name for name in names if name not in excluded]
    problems += [
        _missing(table, name, available, f"data.pseudonymize.{index}")
        for index, name in enumerate(data.pseudonymize)
        if name not in available
    ]
    problems += [
        _missing(table, name, available, join_key(("data", "columns", name)))
        for name in data.columns
        if name not in available
    ]
    if data.clean.outliers is not None:
        problems += [
            _missing(table, name, available, "data.clean.outliers.columns")
            for name in data.clean.outliers.columns or ()
            if name not in available
        ]
    if not names and not problems:
        found = f"only {', '.join(repr(name) for name in available[:5])} in {table.name}"
        fix = "add feature columns to the table, or check data.features"
        problems.append(Problem("", "at least one feature column", found, fix, "data.features"))
    return names, problems


def _match(
    patterns: Sequence[str], available: Sequence[str], key: str, table: Table
) -> tuple[set[str], list[Problem]]:
    matches: set[str] = set()
    problems = []
    all_names = set(available)
    for index, pattern in enumerate(patterns):
        names = {pattern} & all_names or {name for name in available if fnmatchcase(name, pattern)}
        if not names:
            problems.append(_missing(table, pattern, available, f"{key}.{index}"))
        matches |= names
    return matches, problems


def _missing(table: Table, name: str, available: Sequence[str], key: str) -> Problem:
    listed = ", ".join(available[:8]) + (
        f" and {len(available) - 8} more" if len(available) > 8 else ""
    )
    fix = did_you_mean(name, available, "use a column of the table")
    if table.formats[0] == "csv":
        csv_fix = _csv_fix(table.files[0], table.csv.model_dump_json())
        if csv_fix:
            fix = csv_fix
        elif not table.csv.header and table.csv.names is None:
            fix = f"{fix}, or set data.csv.names for all columns"
    return Problem("", f"a column of {table.name} ({listed})", f"'{name}'", fix, key)


@lru_cache(maxsize=1)
def _csv_fix(file: SourceFile, csv: str) -> str:
    """Return CSV settings that may fix all missing columns of a file; empty if none are suspected."""
    path, settings = Path(file.path), Csv.model_validate_json(csv)
    better = advice(path, settings)
    if better is not None:
        return f"{better.found}: {better.fix}"
    if settings.header and first_line_is_data(path, settings):
        return f"the first line looks like data: if there is no header, set {NO_HEADER}"
    return ""
