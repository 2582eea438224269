"""A config for a table: what `trainer init` writes.

Owns: the choices that depend on the table. What is seen is in `trainer.data.inspect`, the text in
`trainer.config.template`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.config.reading import reading_data, stated_reading
from trainer.config.template import FoundColumn, TemplateFindings, render_template
from trainer.data.inspect import ColumnFinding, TableFindings, inspect_table

_EXCLUSIONS = {
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
    data = reading_data(str(source), _one_or_several(targets), reading)
    found = inspect_table(data)
    folder = Path() if config is None else config.parent
    hidden, dropout, batch_size = _sizes(found.rows)
    validated = found.rows >= _VALIDATED_ROWS
    tested = found.rows >= _TESTED_ROWS
    shares = [count / found.rows for count in found.classes.values()]
    text = render_template(
        TemplateFindings(
            source=os.path.relpath(source, folder),
            target=targets,
            task=found.task,
            rows=found.rows,
            columns=tuple(_column(column) for column in found.columns),
            classes=tuple(found.classes.items()),
            hidden=hidden,
            dropout=dropout if tested else 0.0,
            batch_size=batch_size,
            epochs=200 if validated else 100,
            patience=20 if validated else None,
            test=0.2 if tested else 0.0,
            validation=0.2 if validated else 0.0,
            separator=found.separator,
            balanced=found.task in {"binary", "multiclass"} and min(shares) < _RARE_SHARE,
            reading=stated_reading(data),
            file_name="config.yaml" if config is None else config.name,
        )
    )
    return Proposal(text, found)


def _one_or_several(targets: tuple[str, ...]) -> str | list[str]:
    return targets[0] if len(targets) == 1 else list(targets)


def _sizes(rows: int) -> tuple[tuple[int, ...], float, int]:
    chosen = [size for size in _SIZES if rows >= size[0]][-1]
    return chosen[1:]


def _column(column: ColumnFinding) -> FoundColumn:
    if column.exclude is not None:
        return FoundColumn(
            column.name, "categorical", column.missing, excluded=_EXCLUSIONS[column.exclude]
        )
    # Where some values are no numbers, fitting would ask for the kind: state it.
    kind = "categorical" if column.kind is None else column.kind
    return FoundColumn(
        column.name, kind, column.missing, stated=column.kind is None or column.kind == "datetime"
    )
