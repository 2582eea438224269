"""Check the targets and weights of rows."""

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
    table: Table, targets: Sequence[str], data: Data, *, has_label_lists: bool
) -> BoolArray:
    """Return a mask of the rows with a value in every target column; bool (rows,).

    Args:
        table: The table.
        targets: The target columns.
        data: The `data` section.
        has_label_lists: See `target_mask`.

    Raises:
        DataError: If a row has none and `data.clean.missing_target` is "error".
    """
    has_target = target_mask(table.frame, targets, has_label_lists=has_label_lists)
    if data.clean.missing_target == "error" and not has_target.all():
        rows = np.flatnonzero(~has_target)
        more = f" here and in {len(rows) - 1:,} more rows" if len(rows) > 1 else ""
        raise DataError(
            Problem(
                table.where(int(rows[0])),
                f"a value in {' and '.join(repr(name) for name in targets)}",
                f"none{more}",
                "fill it, or set data.clean.missing_target to drop",
            )
        )
    return has_target


def row_weights(table: Table, name: str, has_target: BoolArray) -> Float32Array:
    """Return the weight column, float32 (rows,).

    Raises:
        DataError: If a row with a target has no finite, non-negative weight.
    """
    weight = number_matrix(table.frame, [name])[:, 0]
    invalid = np.flatnonzero(has_target & ~(np.isfinite(weight) & (weight >= 0)))
    if len(invalid):
        raise DataError(
            Problem(
                table.where(int(row)),
                f"a finite, non-negative weight in '{name}'",
                "no value" if table.frame[name][int(row)] is None
                else f"'{table.frame[name][int(row)]}'",
                f"correct the weights of these {len(invalid):,} rows" if len(invalid) > 1 else "",
                "data.weight",
            )
            for row in invalid[:3]
        )  # fmt: skip
    return weight.astype(np.float32)


def check_weights(table: Table, weight: Float32Array, assignment: Assignment) -> None:
    """Check that every split has a positive weight.

    Raises:
        DataError: If one does not.
    """
    problems = [
        Problem(
            table.name,
            f"positive weights among the {name} rows",
            "0 in every row",
            "correct the weights, or remove data.weight",
            "data.weight",
        )
        for split, name in enumerate(SPLIT_NAMES)
        if (assignment == split).any() and not (weight[assignment == split] > 0).any()
    ]
    if problems:
        raise DataError(problems)
