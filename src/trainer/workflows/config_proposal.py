"""A config for a table: what `trainer init` writes.

Owns: the choices that depend on the table. What is seen is in `trainer.data.table_inspection`,
    the text in `trainer.config.template`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.config.read_options import data_section, non_default_read_options
from trainer.config.template import TemplateColumn, TemplateInputs, render_template
from trainer.data.table_inspection import ColumnFinding, TableFindings, inspect_table
from trainer.data.text_formats import format_setting

_EXCLUSIONS = {
    "orders the rows": (
        "orders the rows: later in test rows than in any training row; for its place in the year "
        "and the week, replace exclude by include: ['*'] and set columns.NAME.parts: [year, week]"
    ),
    "constant": "the same value in every row",
    "no values": "no values",
    "identifier": "names the row",
    "nested": "a list or a structure in every row",
}
# From this many rows on: units of the hidden layers, dropout, rows a step.
_SIZES = (
    (0, (32,), 0.2, 16),
    (1_000, (64, 64), 0.2, 32),
    (10_000, (128, 128), 0.1, 128),
    (100_000, (256, 256), 0.1, 256),
    (1_000_000, (256, 256, 256), 0.0, 1024),
)
# Below this a validation share costs more rows than it tells (measured on 214 rows: log loss 1.38 with
# early stopping, 0.82 without), and some 20 rows are too few to hold any back.
_VALIDATED_ROWS = 300
_TESTED_ROWS = 20
_RARE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Proposal:
    """A config and what it was made from."""

    text: str
    findings: TableFindings


def propose_config(
    source: Path, targets: tuple[str, ...], config: Path | None, reading: Sequence[str] = ()
) -> Proposal:
    """Look at a table and write a config for it.

    Args:
        source: The table.
        targets: The columns to predict.
        config: Where the config will stand, to which the table's path is relative; None for stdout,
            where it is relative to the working directory.
        reading: Settings of how the table is read, as typed: `data.csv.header=false`.

    Raises:
        ConfigError: A setting is wrong.
        DataError: The table cannot be read or the target is not in it.
    """
    data = data_section(str(source), _one_or_several(targets), reading)
    found = inspect_table(data)
    folder = Path() if config is None else config.parent
    hidden, dropout, batch_size = _sizes(found.rows)
    validate_tree = found.rows >= _VALIDATED_ROWS
    tested = found.rows >= _TESTED_ROWS
    shares = [count / found.rows for count in found.classes.values()]
    text = render_template(
        TemplateInputs(
            source=os.path.relpath(source, folder),
            target=targets,
            task=found.task,
            rows=found.rows,
            columns=tuple(_column(column) for column in found.columns),
            classes=tuple(found.classes.items()),
            hidden=hidden,
            dropout=dropout if tested else 0.0,
            batch_size=batch_size,
            epochs=200 if validate_tree else 100,
            patience=20 if validate_tree else None,
            test=0.2 if tested else 0.0,
            validation=0.2 if validate_tree else 0.0,
            separator=found.separator,
            scale=found.scale,
            balanced=found.task in {"binary", "multiclass"} and min(shares) < _RARE_SHARE,
            reading=non_default_read_options(data),
            order=None if found.order is None else found.order.column,
            is_ordered=found.order is not None and found.order.is_sorted,
            target_columns=(
                *(_target_column(found, name) for name in found.numbers),
                *_case_of_target(found),
            ),
            file_name="config.yaml" if config is None else config.name,
        )
    )
    return Proposal(text, found)


def _one_or_several(targets: tuple[str, ...]) -> str | list[str]:
    return targets[0] if len(targets) == 1 else list(targets)


def _sizes(rows: int) -> tuple[tuple[int, ...], float, int]:
    chosen = [size for size in _SIZES if rows >= size[0]][-1]
    return chosen[1:]


def _case_of_target(found: TableFindings) -> tuple[TemplateColumn, ...]:
    """A target of which some classes differ in case only."""
    if not found.same_but_case:
        return ()
    words = ", ".join(f"'{name}'" for name in found.same_but_case[:3])
    settings = {"ignore_case": True}
    return (
        TemplateColumn(
            found.target[0], "categorical", settings=settings, comment=f"{words} are one class"
        ),
    )


def _target_column(found: TableFindings, name: str) -> TemplateColumn:
    """A target of which the numbers are written as text."""
    settings = {"decimal": found.numbers[name].decimal}
    note = next((each for each in found.warnings if each.startswith(f"'{name}' is read")), "")
    return TemplateColumn(name, "numeric", settings=settings, comment=note.partition("; ")[0])


def _column(column: ColumnFinding) -> TemplateColumn:
    reading = column.reading
    settings: dict[str, str | bool] = {}
    comment = ""
    if reading.note is not None and reading.number is not None:
        settings, comment = {"decimal": reading.number.decimal}, reading.note.what
    elif reading.note is not None and reading.kind == "datetime":
        settings = {"kind": "datetime", "format": str(reading.date)}
        comment = reading.note.what
    elif column.kind == "datetime":
        settings = {"kind": "datetime"}
    elif reading.note is not None or column.kind is None:
        # Where some values are no numbers, fitting would ask for the kind: state it.
        settings = {"kind": "categorical"}
        comment = _odd_values(column)
    excluded = ""
    if column.exclude is not None:
        excluded = _exclusion(column)
        if column.exclude != "orders the rows" or reading.date is None:
            settings = {}
    kind = "categorical" if column.kind is None else column.kind
    return TemplateColumn(
        column.name, kind, column.missing, settings=settings, comment=comment, excluded=excluded
    )


def _odd_values(column: ColumnFinding) -> str:
    """Why a column that is mostly numbers, or dates, is none."""
    if column.reading.note is not None:
        return column.reading.note.what
    return "" if column.problem is None else f"not all values are numbers: {column.problem.found}"


def _exclusion(column: ColumnFinding) -> str:
    """Why a column is no feature."""
    if column.exclude == "ambiguous dates":
        setting = format_setting(column.name, column.reading.formats)
        return f"dates with several meanings: take it out here and set {setting}"
    if column.exclude == "mostly numbers":
        return (
            f"{_odd_values(column)}: correct them, or add them to data.csv.null_values, to use it"
        )
    reason = _EXCLUSIONS[column.exclude or ""]
    return reason.replace("NAME", column.name)
