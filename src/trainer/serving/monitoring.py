"""Count served inputs and predictions in the bins of the training rows.

The bins are those of the drift check of `trainer check --data`: ten quantiles of numbers, the nine most
frequent categories, and one bin for missing values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.audit.stability import BINS
from trainer.config.task_rules import rules_of
from trainer.export.schema import Schema
from trainer.serving.monitoring_bins import SLOTS, ColumnBins
from trainer.serving.onnx_model import Arrays

_INPUTS = ("number", "boolean", "category")
_PENDING_ROWS = 512


def fit_bins(
    schema: Schema, training: Arrays, predictions: Arrays, *, rows: int
) -> tuple[ColumnBins, ...]:
    """Return the bins of the inputs and predictions of a model.

    Args:
        schema: The schema of the model.
        training: The inputs of training rows; name → (rows, 1).
        predictions: The predictions for rows that were not used for training.
        rows: The number of training rows.
    """
    columns = [
        _fitted(field.column, "input", field.name, training[field.name].reshape(rows))
        for field in schema.inputs
        if field.kind in _INPUTS
    ]
    columns += [
        _fitted(name, "prediction", name, predictions[name])
        for name in monitored_predictions(schema)
    ]
    return tuple(columns)


def monitored_predictions(schema: Schema) -> list[str]:
    """Return the predictions that are counted: labels, numbers, the probability of two classes."""
    names: list[str] = []
    rules = rules_of(schema.task)
    has_positive_class = rules is not None and rules.has_positive_class
    for output in schema.outputs:
        match output.role:
            case "label" | "predicted":
                names += output.columns
            case "labels" if not schema.has_label_lists:
                names += output.columns
            case "probabilities" if schema.has_label_lists:
                names += output.columns
            case "probabilities" if has_positive_class and len(schema.classes) == 2:
                names += output.columns[1:]
    return names


def _fitted(
    name: str, role: Literal["input", "prediction"], array: str, values: NDArray[Any]
) -> ColumnBins:
    if values.dtype.kind in "OU":
        texts, counts = np.unique(values[values != ""].astype(str), return_counts=True)
        largest = np.argsort(-counts, kind="stable")[: BINS - 1]
        empty = ColumnBins(name, role, array, None, tuple(texts[largest].tolist()), ())
    else:
        numbers = values.astype(np.float64)
        known = np.sort(numbers[np.isfinite(numbers)])
        edges = np.unique(known)
        if len(edges) > BINS:
            ranks = np.ceil(np.arange(1, BINS) / BINS * len(known)).astype(np.int64) - 1
            edges = np.unique(known[ranks])
        else:
            edges = edges[:-1]
        empty = ColumnBins(name, role, array, tuple(edges.tolist()), (), ())
    counts = np.bincount(empty.codes(values), minlength=len(empty.bins))
    return ColumnBins(name, role, array, empty.edges, empty.levels, tuple(counts.tolist()))


class Monitor:
    """Counts the values of one model.

    Attributes:
        columns: The bins.
    """

    def __init__(self, columns: Sequence[ColumnBins], counters: NDArray[np.int64]) -> None:
        """Count in these counters, `SLOTS` for each column."""
        self.columns = tuple(columns)
        self._counters = counters
        self._pending: list[tuple[Arrays, Arrays]] = []
        self._rows = 0

    def add(self, arrays: Arrays, predictions: Arrays, rows: int) -> None:
        """Note predicted rows. They are counted together with others, as that takes less time."""
        self._pending.append((arrays, predictions))
        self._rows += rows
        if self._rows >= _PENDING_ROWS:
            self.count()

    def count(self) -> None:
        """Count the rows that were noted."""
        if not self._pending:
            return
        for number, column in enumerate(self.columns):
            part = int(column.role == "prediction")
            values = np.concatenate([rows[part][column.array].ravel() for rows in self._pending])
            counts = np.bincount(column.codes(values), minlength=len(column.bins))
            self._counters[number * SLOTS : number * SLOTS + len(counts)] += counts
        self._pending, self._rows = [], 0

    def clear(self) -> None:
        """Set all counts to 0, for a newer model."""
        self._counters[:] = 0
        self._pending, self._rows = [], 0
