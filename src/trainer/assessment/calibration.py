"""Calibration of probabilities: reliability curves, expected calibration error, temperature scaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainer.assessment.intervals import effective_sample_size, wilson_interval
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.activations import logits, probabilities
from trainer.metrics.arrays import BLOCK_ROWS, Float64Array, FloatArray, IntArray
from trainer.task_names import TaskName

BINS = 15
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0

Strategy = Literal["uniform", "quantile"]
"""Bins of equal width over [0, 1], or of equally many rows, as in scikit-learn's `calibration_curve`."""


@dataclass(frozen=True, slots=True, eq=False)
class ReliabilityCurve:
    """Predicted and observed frequencies in each bin that has rows; every array is (bins,).

    Attributes:
        low: Lower edges of the bins.
        high: Upper edges.
        count: Rows.
        predicted: Mean predicted probability.
        observed: Observed fraction of positive rows, weighted where there are weights.
        observed_low: Lower bound of its Wilson interval.
        observed_high: Upper bound.
    """

    low: Float64Array
    high: Float64Array
    count: IntArray
    predicted: Float64Array
    observed: Float64Array
    observed_low: Float64Array
    observed_high: Float64Array


def top_class(y: FloatArray, p: FloatArray) -> tuple[Float64Array, Float64Array]:
    """Return whether the class with the highest probability is correct, (n,) of 0 or 1, and that
    probability.
    """
    top = np.argmax(p, axis=1)[:, None]
    correct = np.take_along_axis(y, top, axis=1)[:, 0] > 0.5
    return correct.astype(np.float64), np.take_along_axis(p, top, axis=1)[:, 0].astype(float)


def reliability_curve(
    y: FloatArray,
    p: FloatArray,
    *,
    strategy: Strategy = "uniform",
    bins: int = BINS,
    weight: Float64Array | None = None,
    confidence_level: float = 0.95,
) -> ReliabilityCurve:
    """Compute the reliability curve of one column (Murphy & Winkler 1977).

    Args:
        y: (n,) 0 or 1.
        p: (n,) probabilities of 1. For several classes see `top_class`.
        strategy: How bins are made; equal probabilities share a bin.
        bins: Maximum number of bins.
        weight: (n,) or None.
        confidence_level: Confidence level of the Wilson intervals.
    """
    predicted = p.astype(np.float64)
    edges = _bin_edges(predicted, strategy, bins)
    index = _assign_bins(predicted, edges)
    rows = np.ones(len(predicted)) if weight is None else weight.astype(np.float64)
    count = np.bincount(index, minlength=len(edges) - 1)
    mass = np.bincount(index, rows, len(count))
    kept = np.flatnonzero(mass > 0)
    mean = np.bincount(index, rows * predicted, len(count))[kept] / mass[kept]
    frequency = np.bincount(index, rows * y, len(count))[kept] / mass[kept]
    effective = np.array([effective_sample_size(rows[index == bin_index]) for bin_index in kept])
    low, high = wilson_interval(frequency, effective, confidence_level)
    return ReliabilityCurve(edges[kept], edges[kept + 1], count[kept], mean, frequency, low, high)


def calibration_error(
    task: TaskName,
    y: FloatArray,
    p: FloatArray,
    *,
    strategy: Strategy = "uniform",
    bins: int = BINS,
    weight: Float64Array | None = None,
) -> float:
    """Compute the expected calibration error: the mean over rows of the gap |predicted - observed| of
    their bin (Naeini et al. 2015; Guo et al. 2017).

    It depends on the bins, and with few rows it is above 0 by chance alone.

    Args:
        task: binary: of the positive class. multiclass: of the class with the highest probability.
            multilabel: the mean over the columns.
        y: (n, k) as `trainer.metrics.compute.compute_metrics` takes it.
        p: (n, k).
        strategy: As for `reliability_curve`.
        bins: Maximum number of bins.
        weight: (n,) or None.

    Returns:
        NaN without rows.
    """
    if TASK_RULES[task].predicts_most_likely and len(p):
        correct, confidence = top_class(y, p)
        y, p = correct[:, None], confidence[:, None]
    total = float(len(y)) if weight is None else float(weight.sum())
    if not total > 0:
        return float("nan")
    errors = []
    for actual, column in zip(y.T, p.T, strict=True):
        edges = _bin_edges(column, strategy, bins)
        gaps: Float64Array = np.empty(0)
        for start in range(0, len(column), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            values = column[block].astype(np.float64)
            index = _assign_bins(values, edges)
            values -= actual[block]
            if weight is not None:
                values *= weight[block]
            # The sums so far come first, so that the result is that of a single sum.
            sums = np.bincount(
                np.concatenate([np.arange(len(gaps)), index]), np.concatenate([gaps, values])
            )
            gaps = np.asarray(sums, np.float64)
        errors.append(np.abs(gaps).sum() / total)
    return float(np.mean(errors))


def _bin_edges(p: FloatArray, strategy: Strategy, bins: int) -> Float64Array:
    """Return the edges of the bins, in ascending order."""
    edges = np.linspace(0, 1, bins + 1)
    if strategy == "quantile" and len(p):
        edges = np.unique(np.quantile(p.astype(np.float64), edges))
        if len(edges) == 1:
            edges = np.repeat(edges, 2)
    return edges


def _assign_bins(p: Float64Array, edges: Float64Array) -> npt.NDArray[np.intp]:
    """Return the bin of each probability; lower edges are inclusive."""
    index = np.searchsorted(edges, p, side="right")
    index -= 1
    return np.clip(index, 0, len(edges) - 2, out=index)


def fit_temperature(
    task: TaskName, y: FloatArray, p: FloatArray, weight: Float64Array | None = None
) -> float:
    """Fit the temperature T that minimizes the log loss of these rows (Guo et al. 2017).

    Logits are log p for a softmax, log p - log(1 - p) for sigmoids; they are divided by T, the same for
    all columns. T above 1 means overconfident probabilities, below 1 underconfident ones. The log loss
    is convex in 1/T, so Newton steps are safeguarded by a shrinking bracket.

    Args:
        task: binary, multiclass or multilabel.
        y: (n, k) of validation rows, as `trainer.metrics.compute.compute_metrics` takes it.
        p: (n, k) probabilities.
        weight: (n,) or None.

    Returns:
        From 0.05 to 20, a bound where the loss still decreases there (all predictions are correct, or
        none is better than chance); 1 where the loss does not depend on T.
    """
    z = logits(task, p)
    is_softmax = TASK_RULES[task].predicts_most_likely
    rows = np.ones(len(z)) if weight is None else weight.astype(np.float64)

    def derivatives(inverse: float) -> tuple[float, float]:
        """Return the first and second derivative of the loss with respect to 1/T."""
        scaled = probabilities(task, z * inverse)
        if is_softmax:
            mean = (scaled * z).sum(axis=1)
            first = mean - (y * z).sum(axis=1)
            second = (scaled * z**2).sum(axis=1) - mean**2
        else:
            first = ((scaled - y) * z).sum(axis=1)
            second = (scaled * (1 - scaled) * z**2).sum(axis=1)
        return float(rows @ first), float(rows @ second)

    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    relative = z - z[:, :1] if is_softmax else z
    if not (rows[:, None] * relative).any():
        return 1.0
    if derivatives(low)[0] >= 0:
        return MAX_TEMPERATURE
    if derivatives(high)[0] <= 0:
        return MIN_TEMPERATURE
    inverse = 1.0
    for _ in range(100):
        first, second = derivatives(inverse)
        low, high = (inverse, high) if first < 0 else (low, inverse)
        step = first / second if second > 0 else np.inf
        following = inverse - step
        if not low < following < high:
            following = float(np.sqrt(low * high))
        if abs(following - inverse) <= 1e-10 * inverse:
            break
        inverse = following
    return float(1 / inverse)
