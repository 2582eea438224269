"""Curves that take the skew off a number to be predicted: its logarithm, or a power of it.

The power is the Yeo-Johnson transform (Yeo and Johnson, A new family of power transformations to improve
normality or symmetry, 2000), with exponent λ:

    v ≥ 0    ((v + 1)^λ - 1) / λ                 log(v + 1) where λ = 0
    v < 0    -((1 - v)^(2 - λ) - 1) / (2 - λ)    -log(1 - v) where λ = 2

λ is the one of greatest likelihood, if transformed values are normally distributed. The negative log
likelihood is convex in λ (Marchand, Muzellec, Beguier, Ogier du Terrail, Andreux, SecureFedYJ, 2022),
so a golden-section search finds it. All training values are used, streamed or not: the target is always
in memory.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from trainer.data.arrays import Float64Array
from trainer.data.fitted_base import FittedBase

PREDICTION_REACH = 100.0
"""How far beyond the training values a prediction can lie: log, a factor; power, times their range."""
_LARGEST = 1e300
_EXPONENTS = (-3.0, 5.0)
_STEPS = 45
_LEAST_SPREAD = 1e-10
_GOLDEN = (math.sqrt(5) - 1) / 2


class TargetTransform(FittedBase):
    """A curve, fitted on the training values of one target column.

    Attributes:
        kind: log, or power (Yeo-Johnson).
        exponent: λ of the power; 0 for log.
        low: Predictions are at least this.
        high: Predictions are at most this.
    """

    kind: Literal["log", "power"]
    exponent: float
    low: float
    high: float

    def forward(self, values: Float64Array) -> Float64Array:
        """Values on the curve; of a log they must be above 0."""
        if self.kind == "log":
            curved: Float64Array = np.log(values)
            return curved
        return yeo_johnson(values, self.exponent)

    def backward(self, curved: Float64Array) -> Float64Array:
        """Values in their own unit, from `low` to `high`; NaN stays NaN."""
        with np.errstate(over="ignore", under="ignore"):
            if self.kind == "log":
                values: Float64Array = np.exp(curved)
            else:
                values = _inverse_yeo_johnson(curved, self.exponent)
        bounded: Float64Array = np.clip(values, self.low, self.high)
        return bounded


def fit_log_transform(values: Float64Array) -> TargetTransform:
    """The logarithm of training values (n,), all above 0."""
    low, high = float(values.min()) / PREDICTION_REACH, float(values.max()) * PREDICTION_REACH
    least = float(np.finfo(np.float64).tiny)
    return TargetTransform(kind="log", exponent=0.0, low=max(low, least), high=min(high, _LARGEST))


def fit_power_transform(values: Float64Array) -> TargetTransform:
    """The Yeo-Johnson transform of training values (n,), with the exponent of greatest likelihood."""
    low, high = float(values.min()), float(values.max())
    reach = PREDICTION_REACH * (high - low)
    return TargetTransform(
        kind="power",
        exponent=_likeliest_exponent(values),
        low=max(low - reach, -_LARGEST),
        high=min(high + reach, _LARGEST),
    )


def yeo_johnson(values: Float64Array, exponent: float) -> Float64Array:
    """The transform of values, float64."""
    curved = np.empty_like(values, dtype=np.float64)
    above = values >= 0
    curved[above] = _power(np.log1p(values[above]), exponent)
    curved[~above] = -_power(np.log1p(-values[~above]), 2 - exponent)
    return curved


def _inverse_yeo_johnson(curved: Float64Array, exponent: float) -> Float64Array:
    """Infinite beyond the values that the transform can take."""
    values = np.array(curved, dtype=np.float64)
    above = values >= 0
    below = values < 0
    values[above] = np.expm1(_root(values[above], exponent))
    values[below] = -np.expm1(_root(-values[below], 2 - exponent))
    return values


def _power(logs: Float64Array, exponent: float) -> Float64Array:
    """(e^logs)^exponent - 1 over the exponent, exact for small ones."""
    if exponent == 0:
        return logs
    powers: Float64Array = np.expm1(exponent * logs) / exponent
    return powers


def _root(powers: Float64Array, exponent: float) -> Float64Array:
    """The logs that `_power` made these of."""
    if exponent == 0:
        return powers
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log1p(np.maximum(exponent * powers, -1.0)) / exponent
    return np.asarray(logs, dtype=np.float64)


def _likeliest_exponent(values: Float64Array) -> float:
    above = values >= 0
    logs = np.log1p(np.abs(values))
    # Σ sign(v) · log(1 + |v|), of the Jacobian of the transform.
    slope = float(np.where(above, logs, -logs).mean())
    up, down = logs[above], logs[~above]

    def unlikelihood(exponent: float) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            curved = np.concatenate([_power(up, exponent), -_power(down, 2 - exponent)])
            spread = float(curved.std())
        # A spread that rounding would spoil counts as none.
        if not _LEAST_SPREAD * float(np.abs(curved).max()) < spread < math.inf:
            return math.inf
        return math.log(spread) - (exponent - 1) * slope

    low, high = _EXPONENTS
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    ours, theirs = unlikelihood(left), unlikelihood(right)
    for _ in range(_STEPS):
        # Where neither can be computed, no transform (an exponent of 1) is nearer.
        if ours < theirs or (ours == theirs and abs(left - 1) <= abs(right - 1)):
            high, right, theirs = right, left, ours
            left = high - _GOLDEN * (high - low)
            ours = unlikelihood(left)
        else:
            low, left, ours = left, right, theirs
            right = low + _GOLDEN * (high - low)
            theirs = unlikelihood(right)
    return 0.5 * (low + high)
