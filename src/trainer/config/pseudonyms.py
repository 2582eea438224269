"""Columns whose values are replaced by pseudonyms: which settings they can have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainer.config.conflict import Conflict, conflict
from trainer.config.nodes import column_key

if TYPE_CHECKING:
    from trainer.config.data import ColumnSettings, Data

KEY_VARIABLE = "TRAINER_PSEUDONYM_KEY"
"""The environment variable with the key of pseudonyms."""

_ALLOWED = frozenset(
    {
        "kind", "impute", "constant", "encode", "dimension", "min_count", "max_levels", "unknown",
        "target_mean",
    }
)  # fmt: skip


def pseudonym_conflicts(data: Data) -> Iterator[Conflict]:
    """Yield conflicts of pseudonymized columns with what needs their values."""
    if data.pseudonym_key is not None and not data.pseudonymize:
        yield conflict(
            "data.pseudonym_key",
            "a key only with data.pseudonymize",
            "no pseudonymized columns",
            "list the columns in data.pseudonymize, or remove the key",
            "data.pseudonymize",
        )
    targets = [data.target] if isinstance(data.target, str) else data.target
    split = data.split.column if data.split.by in ("time", "column") else None
    for index, name in enumerate(data.pseudonymize):
        key = f"data.pseudonymize.{index}"
        if name in data.pseudonymize[:index]:
            yield conflict(key, "unique columns", f"'{name}' twice", "remove one")
        used = [
            ("the target", name in targets, "data.target"),
            ("the weight column", name == data.weight, "data.weight"),
            (f"the split column of by: {data.split.by}", name == split, "data.split.column"),
        ]
        for role, is_used, other in used:
            if is_used:
                expected, fix = f"a column other than {role}", "remove it: its values are needed"
                yield conflict(key, expected, f"'{name}'", fix, other)
        if name in data.columns:
            yield from _column_conflicts(name, key, data.columns[name])


def _column_conflicts(name: str, key: str, column: ColumnSettings) -> Iterator[Conflict]:
    place = column_key(name)
    if column.kind not in (None, "categorical"):
        yield conflict(
            f"{place}.kind",
            "kind: categorical for a pseudonymized column",
            f"kind: {column.kind}",
            "remove it, or remove the column from data.pseudonymize",
            key,
        )
    for setting in type(column).model_fields:
        if setting not in _ALLOWED and getattr(column, setting) is not None:
            yield conflict(
                f"{place}.{setting}",
                "settings of a pseudonymized column",
                setting,
                "remove it, or remove the column from data.pseudonymize",
                key,
            )
