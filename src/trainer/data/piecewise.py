"""Piecewise-linear encoding of numbers (Gorishniy et al. 2022, https://arxiv.org/abs/2203.05556).

Bin t between the edges b(t) and b(t+1) has the input

    clip((x - b(t)) / (b(t+1) - b(t)), 0, 1) - (its mean over the known training values)

so that a network can fit a different slope in each bin, and a change of x changes one input only. Inputs
are centered because a network trains slowly on inputs that are all positive. They are 0, the mean, for a
missing value, and constant outside the edges.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from trainer.data.arrays import Float32Array, Float64Array
from trainer.data.fitted_base import FittedBase

_ROWS = 4_096
"""Rows that are encoded together, so that intermediate arrays stay in the cache."""


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


def encode_piecewise(bins: PiecewiseBins, values: Float64Array, out: Float32Array) -> None:
    """Encode values (n,), NaN where missing, into the columns of `out`, (n, bins)."""
    edges, means = np.array(bins.edges), np.array(bins.means)
    starts = np.arange(len(means))
    for first in range(0, len(values), _ROWS):
        positions = _positions(edges, values[first : first + _ROWS])
        shares = np.clip(positions[:, None] - starts, 0, 1)
        shares -= means
        shares[np.isnan(positions)] = 0
        out[first : first + _ROWS] = shares


def piecewise_names(name: str, bins: PiecewiseBins) -> tuple[str, ...]:
    """Return the name of each bin's input, with the edges of the bin."""
    return tuple(f"{name}={low:g}…{high:g}" for low, high in pairwise(bins.edges))


def _positions(edges: Float64Array, values: Float64Array) -> Float64Array:
    """Return the position of each value: t at edge t, linear between edges, constant outside."""
    return np.interp(values, edges, np.arange(len(edges), dtype=np.float64))
