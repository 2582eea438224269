"""Predictions for the same rows with one column of the table replaced.

A column of the table can be encoded as several columns of `x`: one per level, one for missing values,
sine and cosine of a date. They are always replaced together. The members of an ensemble can have
different encodings of the same rows; the replacement is then made in each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from trainer.metrics.arrays import FloatArray

Float32Array = npt.NDArray[np.float32]

PredictFn = Callable[[Sequence[Float32Array]], FloatArray]
"""A predict function: rows in each encoding, (n, width) each → predictions (n, k)."""

_MAX_ROWS_PER_CALL = 65_536
_MAX_CELLS_PER_CALL = 8_000_000


@dataclass(frozen=True, slots=True, eq=False)
class EncodedRows:
    """Rows in one encoding.

    Attributes:
        x: (n, width).
        columns: Column of the table → its columns of x.
    """

    x: Float32Array
    columns: Mapping[str, Sequence[int]]

    def columns_of(self, column: str) -> list[int]:
        """Return the columns of x of a table column; none if it was constant in training."""
        return list(self.columns[column]) if column in self.columns else []


@dataclass(frozen=True, slots=True, eq=False)
class Perturbation:
    """New values for one column.

    Attributes:
        column: A column of the table.
        values: For each encoding (n, columns), or (1, columns) for the same value in all rows.
    """

    column: str
    values: Sequence[Float32Array]


def column_names(encodings: Sequence[EncodedRows]) -> tuple[str, ...]:
    """Return the table columns that occur in any encoding."""
    return tuple(dict.fromkeys(name for rows in encodings for name in rows.columns))


def predict_perturbed(
    predict: PredictFn,
    encodings: Sequence[EncodedRows],
    perturbations: Iterable[Perturbation | None],
    count: int,
) -> Iterator[FloatArray]:
    """Yield the predictions (n, k) for each perturbation of the rows, in order.

    Several perturbed copies share one call, and every call has the same number of rows, so one compiled
    program serves them all. Rows are copied once; between calls only the perturbed columns are written.

    Args:
        predict: The predict function.
        encodings: The rows in each encoding.
        perturbations: The perturbations, each applied alone; None for the original rows.
        count: The number of perturbations.
    """
    rows = len(encodings[0].x)
    copies = _copies(rows, max(encoded.x.shape[1] for encoded in encodings), count)
    stacks = [np.repeat(encoded.x[None], copies, axis=0) for encoded in encodings]
    remaining = iter(perturbations)
    while batch := list(islice(remaining, copies)):
        changes = [(slot, change) for slot, change in enumerate(batch) if change is not None]
        for slot, change in changes:
            for stack, encoded, values in zip(stacks, encodings, change.values, strict=True):
                stack[slot][:, encoded.columns_of(change.column)] = values
        predictions = predict([stack.reshape(copies * rows, stack.shape[2]) for stack in stacks])
        yield from predictions.reshape(copies, rows, -1)[: len(batch)]
        for slot, change in changes:
            for stack, encoded in zip(stacks, encodings, strict=True):
                columns = encoded.columns_of(change.column)
                stack[slot][:, columns] = encoded.x[:, columns]


def _copies(rows: int, width: int, count: int) -> int:
    """Return the copies per call: within the limits, with calls of nearly equal size."""
    most = max(1, min(_MAX_ROWS_PER_CALL // rows, _MAX_CELLS_PER_CALL // max(1, rows * width)))
    calls = -(-count // most)
    return -(-count // max(1, calls))
