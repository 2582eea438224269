"""Transforms that reduce the skewness of a numeric target: the logarithm, or a power transform.

The power is the Yeo-Johnson transform (Yeo and Johnson, A new family of power transformations to improve
normality or symmetry, 2000), with exponent λ:

    v ≥ 0    ((v + 1)^λ - 1) / λ                 log(v + 1) where λ = 0
    v < 0    -((1 - v)^(2 - λ) - 1) / (2 - λ)    -log(1 - v) where λ = 2

λ maximizes the likelihood, assuming normally distributed transformed values. The negative log likelihood
is convex in λ (Marchand, Muzellec, Beguier, Ogier du Terrail, Andreux, SecureFedYJ, 2022), so a
golden-section search finds it. All training values are used, even in a streamed table, as the target is
always in memory.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from trainer.data.arrays import Float64Array
from trainer.data.fitted_base import FittedBase

PREDICTION_REACH = 100.0
"""How far predictions can exceed the training values: a factor (log), or times their range (power)."""
_LARGEST = 1e300
_EXPONENTS = (-3.0, 5.0)
_STEPS = 45
_MIN_RELATIVE_STD = 1e-10
_GOLDEN = (math.sqrt(5) - 1) / 2


class TargetTransform(FittedBase):
    """A transform fitted on the training values of one target column.

    Attributes:
        kind: "log", or "power" (Yeo-Johnson).
        exponent: λ of the power transform; 0 for log.
        low: Lower bound of predictions.
        high: Upper bound of predictions.
    """

    kind: Literal["log", "power"]
    exponent: float
    low: float
    high: float

    def transform(self, values: Float64Array) -> Float64Array:
        """Transform values; for log they must be positive."""
        if self.kind == "log":
            transformed: Float64Array = np.log(values)
            return transformed
        return yeo_johnson(values, self.exponent)

    def inverse_transform(self, transformed: Float64Array) -> Float64Array:
        """Invert the transform, with results clipped to `low` and `high`; NaN stays NaN."""
        with np.errstate(over="ignore", under="ignore"):
            if self.kind == "log":
                values: Float64Array = np.exp(transformed)
            else:
                values = _inverse_yeo_johnson(transformed, self.exponent)
        bounded: Float64Array = np.clip(values, self.low, self.high)
        return bounded


def fit_log_transform(values: Float64Array) -> TargetTransform:
    """Return the log transform for training values (n,), all positive."""
    low, high = float(values.min()) / PREDICTION_REACH, float(values.max()) * PREDICTION_REACH
    least = float(np.finfo(np.float64).tiny)
    return TargetTransform(kind="log", exponent=0.0, low=max(low, least), high=min(high, _LARGEST))


def fit_power_transform(values: Float64Array) -> TargetTransform:
    """Fit the Yeo-Johnson transform on training values (n,), with the maximum-likelihood exponent."""
    low, high = float(values.min()), float(values.max())
    reach = PREDICTION_REACH * (high - low)
    return TargetTransform(
        kind="power",
        exponent=_maximum_likelihood_exponent(values),
        low=max(low - reach, -_LARGEST),
        high=min(high + reach, _LARGEST),
    )


def yeo_johnson(values: Float64Array, exponent: float) -> Float64Array:
    """Return the Yeo-Johnson transform of values, float64."""
    transformed = np.empty_like(values, dtype=np.float64)
    above = values >= 0
    transformed[above] = _power(np.log1p(values[above]), exponent)
    transformed[~above] = -_power(np.log1p(-values[~above]), 2 - exponent)
    return transformed


def _inverse_yeo_johnson(transformed: Float64Array, exponent: float) -> Float64Array:
    """Invert the transform; infinite outside its range."""
    values = np.array(transformed, dtype=np.float64)
    above = values >= 0
    below = values < 0
    values[above] = np.expm1(_root(values[above], exponent))
    values[below] = -np.expm1(_root(-values[below], 2 - exponent))
    return values


def _power(logs: Float64Array, exponent: float) -> Float64Array:
    """Return ((e^logs)^exponent - 1) / exponent, accurate for small exponents."""
    if exponent == 0:
        return logs
    powers: Float64Array = np.expm1(exponent * logs) / exponent
    return powers


def _root(powers: Float64Array, exponent: float) -> Float64Array:
    """Invert `_power`."""
    if exponent == 0:
        return powers
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log1p(np.maximum(exponent * powers, -1.0)) / exponent
    return np.asarray(logs, dtype=np.float64)


def _maximum_likelihood_exponent(values: Float64Array) -> float:
    above = values >= 0
    logs = np.log1p(np.abs(values))
    # Σ sign(v) · log(1 + |v|), from the Jacobian of the transform.
    slope = float(np.where(above, logs, -logs).mean())
    up, down = logs[above], logs[~above]

    def negative_log_likelihood(exponent: float) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            transformed = np.concatenate([_power(up, exponent), -_power(down, 2 - exponent)])
            std = float(transformed.std())
        # A standard deviation dominated by rounding counts as 0.
        if not _MIN_RELATIVE_STD * float(np.abs(transformed).max()) < std < math.inf:
            return math.inf
        return math.log(std) - (exponent - 1) * slope

    low, high = _EXPONENTS
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    left_value, right_value = negative_log_likelihood(left), negative_log_likelihood(right)
    for _ in range(_STEPS):
        # If neither can be computed, move toward the identity (an exponent of 1).
        if left_value < right_value or (
            left_value == right_value and abs(left - 1) <= abs(right - 1)
        ):
            high, right, right_value = right, left, left_value
            left = high - _GOLDEN * (high - low)
            left_value = negative_log_likelihood(left)
        else:
            low, left, left_value = left, right, right_value
            right = low + _GOLDEN * (high - low)
            right_value = negative_log_likelihood(right)
    return 0.5 * (low + high)
