"""Piecewise-linear encoding of numbers (Gorishniy et al. 2022, https://arxiv.org/abs/2203.05556).

Bin t between the edges b(t) and b(t+1) has the input

    clip((x - b(t)) / (b(t+1) - b(t)), 0, 1) - (its mean over the known training values)

so that a network can fit a different slope in each bin, and a change of x changes one input only. Inputs
are centered because a network trains slowly on inputs that are all positive. They are 0, the mean, for a
missing value, and constant outside the edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from trainer.data.arrays import Float32Array, Float64Array
from trainer.data.fitted_base import FittedBase

_ROWS = 1_024
"""Rows that are encoded together."""


class PiecewiseBins(FittedBase):
    """Fitted bins.

    Attributes:
        edges: The bounds of the bins: training values nearest to quantiles, increasing.
        means: The mean of each bin's input over the known training values, before centering.
    """

    edges: tuple[float, ...]
    means: tuple[float, ...]


def fit_piecewise(values: Float64Array, bins: int) -> PiecewiseBins | None:
    """Fit bins between distinct quantiles; None if there are fewer than two.

    Args:
        values: The known training values, (n,), sorted.
        bins: The number of bins, before equal quantiles are merged.
    """
    # An edge interpolated between two frequent values would add a bin without values.
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1), method="nearest"))
    # A single bin would repeat the scaled number.
    if len(edges) < 3:
        return None
    positions = _positions(edges, values)
    bounds = np.searchsorted(positions, np.arange(len(edges)))
    means = [
        (np.sum(positions[low:high] - index) + len(values) - high) / len(values)
        for index, (low, high) in enumerate(pairwise(bounds))
    ]
    return PiecewiseBins(edges=tuple(edges.tolist()), means=tuple(map(float, means)))


def encode_piecewise(
    columns: Mapping[int, PiecewiseBins],
    values: Float64Array,
    x: Float32Array,
    starts: Sequence[int],
) -> None:
    """Encode some columns into columns of x.

    Args:
        columns: Column of `values` → its bins.
        values: Shape (n, k), NaN where missing.
        x: Shape (n, width); overwritten.
        starts: For each column of `values`, the column of x for its first bin.
    """
    fitted = [
        (index, np.array(bins.edges), np.array(bins.means), starts[index])
        for index, bins in columns.items()
    ]
    # A block of rows for all columns, so that x passes through the cache once.
    for first in range(0, len(values), _ROWS):
        rows = slice(first, first + _ROWS)
        for index, edges, means, start in fitted:
            positions = _positions(edges, values[rows, index])
            shares = np.clip(positions[:, None] - np.arange(len(means)), 0, 1)
            shares -= means
            shares[np.isnan(positions)] = 0
            x[rows, start : start + len(means)] = shares


def piecewise_names(name: str, bins: PiecewiseBins) -> tuple[str, ...]:
    """Return the name of each bin's input, with the edges of the bin."""
    return tuple(f"{name}={low:g}…{high:g}" for low, high in pairwise(bins.edges))


def _positions(edges: Float64Array, values: Float64Array) -> Float64Array:
    """Return the position of each value: t at edge t, linear between edges, constant outside."""
    return np.interp(values, edges, np.arange(len(edges), dtype=np.float64))
