"""Confidence intervals of proportions (Wilson) and of bootstrap draws (percentiles)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from trainer.metrics.arrays import Float64Array


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """A value with its confidence interval; NaN where undefined."""

    value: float
    low: float
    high: float


def wilson_interval(
    proportion: Float64Array, rows: Float64Array, confidence_level: float
) -> tuple[Float64Array, Float64Array]:
    """Compute the score interval of a proportion (Wilson 1927; Brown, Cai, DasGupta 2001).

    Args:
        proportion: Observed proportions, any shape.
        rows: The number of rows of each; with weights, the effective number (`effective_sample_size`).
        confidence_level: Such as 0.95.

    Returns:
        Lower and upper bounds; 0 and 1 without rows.
    """
    z = NormalDist().inv_cdf((1 + confidence_level) / 2)
    # A weighted proportion can exceed 1 by rounding.
    proportion, n = np.clip(proportion, 0.0, 1.0), np.maximum(rows, 1e-12)
    center = (proportion + z**2 / (2 * n)) / (1 + z**2 / n)
    scale = np.sqrt(proportion * (1 - proportion) / n + z**2 / (4 * n**2))
    half_width = z * scale / (1 + z**2 / n)
    has_rows = rows > 0
    low = np.where(has_rows, np.clip(center - half_width, 0.0, 1.0), 0.0)
    high = np.where(has_rows, np.clip(center + half_width, 0.0, 1.0), 1.0)
    # At a proportion of 0 or 1 that bound is exact, up to rounding.
    return np.where(proportion <= 0, 0.0, low), np.where(proportion >= 1, 1.0, high)


def effective_sample_size(weight: Float64Array) -> float:
    """Compute the effective sample size of weighted rows: (Σw)² / Σw² (Kish 1965); 0 without weight."""
    squares = float(np.dot(weight, weight))
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def percentile_interval(
    draws: Float64Array, confidence_level: float
) -> tuple[Float64Array, Float64Array]:
    """Compute the bounds that leave (1 - confidence_level) / 2 of the draws on either side.

    Args:
        draws: (resamples, m); NaN where a metric is undefined in that resample.
        confidence_level: Such as 0.95.

    Returns:
        Lower and upper bounds, each (m,), of the finite draws; NaN without any.
    """
    quantiles = ((1 - confidence_level) / 2, (1 + confidence_level) / 2)
    bounds = np.full((2, draws.shape[1]), np.nan)
    complete = np.isfinite(draws).all(axis=0)
    bounds[:, complete] = np.quantile(draws[:, complete], quantiles, axis=0)
    for index in np.flatnonzero(~complete):
        column = draws[:, index]
        if (finite := np.isfinite(column)).any():
            bounds[:, index] = np.quantile(column[finite], quantiles)
    return bounds[0], bounds[1]
