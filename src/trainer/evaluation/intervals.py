"""A value and how sure it is. Owns: what an interval is, and those of a share and of draws.

Does not own: the draws (`bootstrap`).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from trainer.evaluation.answers import Doubles


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with the ends of its interval; nan where it is not defined."""

    value: float
    low: float
    high: float


def wilson(share: Doubles, rows: Doubles, level: float) -> tuple[Doubles, Doubles]:
    """The score interval of a share (Wilson 1927; Brown, Cai, DasGupta 2001).

    Args:
        share: Observed shares, any shape.
        rows: Of how many rows each; with weights, of how many they are worth (`rows_worth`).
        level: As 0.95.

    Returns:
        Low and high ends; 0 and 1 where there are no rows.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    # A weighted share may be above 1 by rounding.
    share, several = np.clip(share, 0.0, 1.0), np.maximum(rows, 1e-12)
    middle = (share + z**2 / (2 * several)) / (1 + z**2 / several)
    spread = np.sqrt(share * (1 - share) / several + z**2 / (4 * several**2))
    half = z * spread / (1 + z**2 / several)
    some = rows > 0
    low = np.where(some, np.clip(middle - half, 0.0, 1.0), 0.0)
    high = np.where(some, np.clip(middle + half, 0.0, 1.0), 1.0)
    # At a share of 0 or 1 that end is exact; rounding would leave a trace.
    return np.where(share <= 0, 0.0, low), np.where(share >= 1, 1.0, high)


def rows_worth(weight: Doubles) -> float:
    """How many rows of equal weight say as much: (Σw)² / Σw² (Kish 1965); 0 without weight."""
    squares = float(np.dot(weight, weight))
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def percentiles(draws: Doubles, level: float) -> tuple[Doubles, Doubles]:
    """The ends that leave (1 - level) / 2 of the draws on either side.

    Args:
        draws: (resamples, m); nan where a measure is not defined in that resample.
        level: As 0.95.

    Returns:
        Low and high ends, each (m,), of the draws that are defined; nan where none is.
    """
    ends = ((1 - level) / 2, (1 + level) / 2)
    found = np.full((2, draws.shape[1]), np.nan)
    whole = np.isfinite(draws).all(axis=0)
    found[:, whole] = np.quantile(draws[:, whole], ends, axis=0)
    for index in np.flatnonzero(~whole):
        column = draws[:, index]
        if (some := np.isfinite(column)).any():
            found[:, index] = np.quantile(column[some], ends)
    return found[0], found[1]
