"""The population stability index: how much a column differs between training rows and others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.audit.statistics import chi_square_critical_value
from trainer.data.arrays import Float64Array

STABILITY_LIMIT = 0.25
BINS = 10
P_VALUE = 1e-3
MIN_ROWS = 20
"""With fewer rows, drift is not computed."""


def stability_index(training: NDArray[np.int64], other: NDArray[np.int64]) -> tuple[float, int]:
    """Return the population stability index, Σ (q - p) · ln(q / p), and the number of bins in use.

    Args:
        training: The number of training rows in each bin, (bins,).
        other: That of the other rows.
    """
    used = training + other > 0
    p, q = _frequencies(training[used]), _frequencies(other[used])
    return float(((q - p) * np.log(q / p)).sum()), int(used.sum())


def stability_limit(bins: int, columns: int, training_rows: int, other_rows: int) -> float:
    """Return the index above which a column has drifted.

    This is 0.25, and at least the critical value at p = 0.001 over all columns: without drift, the index
    is approximately chi-square divided by the harmonic number of rows.
    """
    if bins < 2:
        return float("inf")
    unit = 1 / training_rows + 1 / other_rows
    return max(STABILITY_LIMIT, chi_square_critical_value(P_VALUE / columns, bins - 1) * unit)


def _frequencies(counts: NDArray[np.int64]) -> Float64Array:
    """Return relative frequencies, with half a row added to each bin so that none is 0."""
    frequencies: Float64Array = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return frequencies


@dataclass(frozen=True, slots=True)
class Drift:
    """How much a column differs from its reference.

    Attributes:
        index: The population stability index.
        limit: The index above which the column has drifted.
    """

    index: float
    limit: float

    @property
    def has_drifted(self) -> bool:
        """Whether the column differs more than by chance."""
        return self.index > self.limit


def column_drift(reference: Sequence[int], served: Sequence[int], columns: int) -> Drift | None:
    """Return the drift of a column; None with too few rows.

    Args:
        reference: The number of training rows in each bin.
        served: That of served rows.
        columns: The number of columns that are compared.
    """
    training, other = np.array(reference), np.array(served)
    if min(training.sum(), other.sum()) < MIN_ROWS:
        return None
    index, bins = stability_index(training, other)
    limit = stability_limit(bins, columns, int(training.sum()), int(other.sum()))
    return Drift(index, limit)
