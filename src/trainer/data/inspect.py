"""A look at a table before there is a config: what `init` writes one from.

All rows are looked at; nothing here is fitted.

Owns: what is found. Does not own: what is made of it (`trainer.config.template`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from trainer.config.data import Data, Kind, Task
from trainer.data.arrays import Rows
from trainer.data.classes import spelled_classes
from trainer.data.features import feature_columns, target_columns
from trainer.data.gaps import no_target
from trainer.data.kinds import find_kinds
from trainer.data.label_lists import has_lists, likely_separator
from trainer.data.tables import SourceFile, Table, read_table
from trainer.data.targets import known_target
from trainer.data.tasks import infer_task
from trainer.data.values import is_nested, natural_order, number
from trainer.errors import DataError, Problem

IDENTIFIER_ROWS = 20
"""In a table with fewer rows, values that all differ say nothing."""

_IDENTIFIER_NAME = re.compile(
    r"(^|[^a-z])(id|ids|uuid|guid|key|index|row|nr|no)($|[^a-z])|_id$|Id$|ID$"
)


@dataclass(frozen=True)
class ColumnFinding:
    """What was seen in one feature column.

    Attributes:
        name: The column.
        kind: Its kind; None when it can not be read as one (see `problem`) or has no values.
        missing: Rows without a value.
        distinct: Different values.
        exclude: Why it should be no feature ("constant", "no values", "identifier", "nested"), or None.
        problem: A problem that fitting would raise, or None.
    """

    name: str
    kind: Kind | None
    missing: int
    distinct: int
    exclude: str | None
    problem: Problem | None


@dataclass(frozen=True)
class TableFindings:
    """What was seen in a table.

    Attributes:
        files: What was read.
        rows: Rows with a target.
        rows_without_target: The others.
        target: The target columns.
        task: What the target stands for.
        reason: Why.
        classes: Rows of each class, in natural order; empty for numbers and several columns.
        duplicates: Rows that repeat another in every column.
        columns: Every other column, in the table's order.
        warnings: What is odd in the files.
        separator: What seems to stand between the labels in a cell of the target, or None.
    """

    files: tuple[SourceFile, ...]
    rows: int
    rows_without_target: int
    target: tuple[str, ...]
    task: Task
    reason: str
    classes: dict[str, int]
    duplicates: int
    columns: tuple[ColumnFinding, ...]
    warnings: tuple[str, ...]
    separator: str | None = None


def inspect_table(data: Data) -> TableFindings:
    """Look at the table of a `data` section, of which source and target are enough.

    Raises:
        DataError: The table can not be read, or the target is missing or empty.
    """
    table = read_table(data.source, data)
    names, problems = feature_columns(table, data)
    if problems:
        raise DataError(problems)
    targets = target_columns(data)
    separator = likely_separator(table.frame[targets[0]]) if len(targets) == 1 else None
    data = data.model_copy(update={"target_separator": separator})
    listed = len(targets) == 1 and has_lists(table.frame[targets[0]], data)
    known = known_target(table.frame, targets, listed=listed)
    rows: Rows = np.flatnonzero(known)
    if not len(rows):
        raise DataError(no_target(table, targets))
    values = table.frame.select(targets)[rows]
    try:
        finding = infer_task(values, data)
    except DataError as error:
        raise DataError(table.placed(error.problems)) from error
    classes: dict[str, int] = {}
    if len(targets) == 1 and finding.task in ("binary", "multiclass"):
        counts = spelled_classes(values.to_series())
        classes = {name: counts[name] for name in natural_order(list(counts))}
    plain = table.frame.select(
        name for name, dtype in table.frame.schema.items() if not is_nested(dtype)
    )
    return TableFindings(
        files=table.files,
        rows=len(rows),
        rows_without_target=table.frame.height - len(rows),
        target=targets,
        task=finding.task,
        reason=finding.reason,
        classes=classes,
        duplicates=plain.height - plain.n_unique(),
        columns=_columns(table, names, rows, data),
        warnings=table.warnings,
        separator=separator,
    )


def _columns(
    table: Table, names: Sequence[str], rows: Rows, data: Data
) -> tuple[ColumnFinding, ...]:
    finding, problems = find_kinds(table, names, rows, data)
    found = []
    for name in names:
        series = table.frame[name].gather(rows)
        if name in finding.empty:
            found.append(ColumnFinding(name, None, len(series), 0, "no values", None))
            continue
        if name not in finding.kinds:
            _, problems = find_kinds(table, [name], rows, data)
            nested = is_nested(series.dtype)
            distinct = 0 if nested else series.drop_nulls().n_unique()
            why = "nested" if nested else None
            found.append(ColumnFinding(name, None, series.null_count(), distinct, why, problems[0]))
            continue
        kind = finding.kinds[name]
        known = series.drop_nulls()
        if known.dtype.is_float():
            known = known.drop_nans()
        distinct = known.n_unique()
        exclude = _exclusion(name, known, kind, distinct)
        found.append(ColumnFinding(name, kind, len(series) - len(known), distinct, exclude, None))
    return tuple(found)


def _exclusion(name: str, known: pl.Series, kind: Kind, distinct: int) -> str | None:
    """Why a column should be no feature. Identifiers: all words differ; or whole numbers that all
    differ and count up by one, or are called so.
    """
    if distinct == 1:
        return "constant"
    if len(known) < IDENTIFIER_ROWS or distinct < len(known):
        return None
    if kind == "categorical":
        return "identifier"
    if kind == "numeric":
        numbers = known.to_frame().select(number(name, known.dtype)).to_series()
        ordered = np.sort(numbers.to_numpy())
        whole = bool(np.all(ordered == np.round(ordered)))
        counting = whole and bool(np.all(np.diff(ordered) == 1))
        if counting or (whole and _IDENTIFIER_NAME.search(name) is not None):
            return "identifier"
    return None
