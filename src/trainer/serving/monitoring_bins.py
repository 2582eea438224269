"""The bins in which the values of a column are counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.runs.monitoring import MonitoredColumn

SLOTS = 14
"""Counters of a column: at least its number of bins."""

OTHER, MISSING = "(other)", "(missing)"


@dataclass(frozen=True, slots=True)
class ColumnBins:
    """The bins of a column.

    Attributes:
        name: The column.
        role: "input" or "prediction".
        array: The input of the model, or the name of the prediction.
        edges: For numbers, the upper bounds of all bins but the last.
        levels: For categories, the values of the first bins; `(other)` follows.
        reference: The rows in each bin before serving; the last bin is that of missing values.
    """

    name: str
    role: Literal["input", "prediction"]
    array: str
    edges: tuple[float, ...] | None
    levels: tuple[str, ...]
    reference: tuple[int, ...]

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the bin of each value."""
        if self.edges is None:
            places = {level: number for number, level in enumerate(self.levels)}
            places[""] = len(self.levels) + 1
            other = len(self.levels)
            return np.array([places.get(value, other) for value in values.tolist()], np.int64)
        numbers = values.astype(np.float64)
        codes = np.searchsorted(np.array(self.edges), numbers, side="left")
        codes[np.isnan(numbers)] = len(self.edges) + 1
        return codes.astype(np.int64)

    @property
    def bins(self) -> tuple[str, ...]:
        """The bins in words."""
        if self.edges is None:
            return (*self.levels, OTHER, MISSING)
        if not self.edges:
            return ("any", MISSING)
        middle = [
            f"{low:g} to {high:g}" for low, high in zip(self.edges, self.edges[1:], strict=False)
        ]
        return (f"≤ {self.edges[0]:g}", *middle, f"> {self.edges[-1]:g}", MISSING)


def counters_by_model(
    bins: Iterable[Sequence[ColumnBins]], counters: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Yield the part of the counters of each model, for the bins of each model."""
    first = 0
    for columns in bins:
        last = first + SLOTS * len(columns)
        yield counters[first:last]
        first = last


def monitored_columns(
    columns: Sequence[ColumnBins], counters: NDArray[np.int64]
) -> Iterator[MonitoredColumn]:
    """Yield the counts of each column."""
    for number, column in enumerate(columns):
        counts = counters[number * SLOTS : number * SLOTS + len(column.bins)]
        served = tuple(counts.tolist())
        yield MonitoredColumn(column.name, column.role, column.bins, column.reference, served)
