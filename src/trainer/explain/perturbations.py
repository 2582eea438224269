"""Predictions for the same rows with one column of the table replaced.

A column of the table can be encoded as several columns of an input: one per level, one for missing
values, sine and cosine of a date. They are always replaced together. The members of an ensemble can
have different encodings of the same rows; the replacement is then made in each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import prod
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.preprocessing import InputColumns, Preprocessing
from trainer.inputs import Inputs, count_rows
from trainer.metrics.arrays import FloatArray

PredictFn = Callable[[Sequence[Inputs]], FloatArray]
"""A predict function: n rows in each encoding → predictions (n, k)."""

_MAX_ROWS_PER_CALL = 65_536
_MAX_CELLS_PER_CALL = 8_000_000


@dataclass(frozen=True, slots=True, eq=False)
class EncodedRows:
    """Rows in one encoding.

    Attributes:
        inputs: The values of each input, (n, *shape).
        columns: Column of the table → its columns of an input.
    """

    inputs: Inputs
    columns: Mapping[str, InputColumns]

    def values_of(self, column: str, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Return the encoded values (n, columns) of a table column in some rows.

        A column that was constant in training has none: the result is (1, 0).
        """
        place = self.columns.get(column)
        if place is None:
            return np.zeros((1, 0), np.float32)
        return self.inputs[place.input][rows][:, place.columns]

    def subset(self, rows: NDArray[np.int64]) -> EncodedRows:
        """Return some of the rows."""
        return replace(self, inputs={name: array[rows] for name, array in self.inputs.items()})


def encode_rows(encoder: Preprocessing, frame: pl.DataFrame) -> EncodedRows:
    """Encode rows of a table."""
    return EncodedRows(encoder.transform(frame).inputs, encoder.input_columns)


@dataclass(frozen=True, slots=True, eq=False)
class Perturbation:
    """New values for one column.

    Attributes:
        column: A column of the table.
        values: For each encoding (n, columns), or (1, columns) for the same value in all rows.
    """

    column: str
    values: Sequence[NDArray[Any]]


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
    rows = count_rows(encodings[0].inputs)
    copies = _copies(rows, max(map(_width, encodings)), count)
    stacks = [
        {
            name: np.repeat(values[:][None], copies, axis=0)
            for name, values in encoded.inputs.items()
        }
        for encoded in encodings
    ]
    remaining = iter(perturbations)
    while batch := list(islice(remaining, copies)):
        changes = [(slot, change) for slot, change in enumerate(batch) if change is not None]
        for slot, change in changes:
            for stack, encoded, values in zip(stacks, encodings, change.values, strict=True):
                _replace(stack, slot, encoded.columns.get(change.column), values)
        predictions = predict(
            [
                {
                    name: values.reshape(copies * rows, *values.shape[2:])
                    for name, values in stack.items()
                }
                for stack in stacks
            ]
        )
        yield from predictions.reshape(copies, rows, -1)[: len(batch)]
        for slot, change in changes:
            for stack, encoded in zip(stacks, encodings, strict=True):
                values = encoded.values_of(change.column, slice(None))
                _replace(stack, slot, encoded.columns.get(change.column), values)


def _replace(
    stack: Mapping[str, NDArray[Any]], slot: int, place: InputColumns | None, values: NDArray[Any]
) -> None:
    """Write the values of a table column to one copy of the rows."""
    if place is not None:
        stack[place.input][slot][:, place.columns] = values


def _width(encoded: EncodedRows) -> int:
    return sum(prod(values.shape[1:]) for values in encoded.inputs.values())


def _copies(rows: int, width: int, count: int) -> int:
    """Return the copies per call: within the limits, with calls of nearly equal size."""
    max_copies = max(
        1, min(_MAX_ROWS_PER_CALL // rows, _MAX_CELLS_PER_CALL // max(1, rows * width))
    )
    calls = -(-count // max_copies)
    return -(-count // max(1, calls))
