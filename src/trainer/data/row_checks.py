"""Targets and weights of rows: which rows have one, and what is wrong with those of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.config.data import Data
from trainer.data.arrays import Assignment, BoolArray, Float32Array
from trainer.data.splits import SPLIT_NAMES
from trainer.data.tables import Table
from trainer.data.targets import target_mask
from trainer.data.values import number_matrix
from trainer.errors import DataError, Problem


def rows_with_target(
    table: Table, targets: Sequence[str], data: Data, *, listed: bool
) -> BoolArray:
    """Which rows have a value in every target column; bool (rows,).

    Args:
        table: The table.
        targets: The target columns.
        data: The `data` section.
        listed: As in `target_mask`.

    Raises:
        DataError: One has not, and `data.clean.missing_target` says that is an error.
    """
    known = target_mask(table.frame, targets, listed=listed)
    if data.clean.missing_target == "error" and not known.all():
        at = np.flatnonzero(~known)
        more = f" and in {len(at) - 1:,} more rows" if len(at) > 1 else ""
        raise DataError(
            Problem(
                table.where(int(at[0])),
                f"a value in {' and '.join(repr(name) for name in targets)}",
                f"none there{more}",
                "fill it, or set data.clean.missing_target to drop",
            )
        )
    return known


def row_weights(table: Table, name: str, known: BoolArray) -> Float32Array:
    """The weight column, float32 (rows,).

    Raises:
        DataError: A row that is `known` has no finite weight of at least 0.
    """
    weight = number_matrix(table.frame, [name])[:, 0]
    wrong = np.flatnonzero(known & ~(np.isfinite(weight) & (weight >= 0)))
    if len(wrong):
        raise DataError(
            Problem(
                table.where(int(row)),
                f"a finite weight of at least 0 in '{name}'",
                "no value" if table.frame[name][int(row)] is None
                else f"'{table.frame[name][int(row)]}'",
                f"{len(wrong):,} rows have such weights: correct them." if len(wrong) > 1 else "",
                "data.weight",
            )
            for row in wrong[:3]
        )  # fmt: skip
    return weight.astype(np.float32)


def check_weights(table: Table, weight: Float32Array, assignment: Assignment) -> None:
    problems = [
        Problem(
            table.name,
            f"weights above 0 among the {name} rows",
            "0 in every row",
            "correct the weights, or remove data.weight",
            "data.weight",
        )
        for split, name in enumerate(SPLIT_NAMES)
        if (assignment == split).any() and not (weight[assignment == split] > 0).any()
    ]
    if problems:
        raise DataError(problems)
