"""Percentile bootstrap intervals of metrics, and of differences between two sets of predictions.

Rows are drawn with replacement (Efron & Tibshirani 1993, chapter 13), stratified by class, so that a
rare class is in every resample. With groups, whole groups are drawn, regardless of class; without
classes (regression, multilabel), the draw is not stratified. A row keeps its weight. All metrics are
computed on the same resamples. The same seed gives the same intervals for any order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from trainer.assessment.intervals import ConfidenceInterval, percentile_interval
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import Float64Array
from trainer.metrics.evaluator import MetricEvaluator
from trainer.metrics.labels import class_indices
from trainer.metrics.predictions import Predictions

CHUNK = 800_000
"""Approximate number of weights drawn at once; they fit into the processor's cache."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """How intervals are computed.

    Attributes:
        resamples: Number of resamples.
        confidence_level: The fraction of draws inside an interval.
        seed: Seed of the resamples.
    """

    resamples: int = 1_000
    confidence_level: float = 0.95
    seed: int = 0


DEFAULT_RESAMPLING = Resampling()
_MIN_RESAMPLES = 100


def bounded_resamples(resamples: int, rows: int, drawn_rows: int) -> int:
    """Return a number of resamples with which at most `drawn_rows` rows are drawn; but at least 100."""
    return min(resamples, max(_MIN_RESAMPLES, drawn_rows // max(1, rows)))


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The difference of a metric between two sets of predictions; NaN where undefined.

    Attributes:
        value: The first minus the second.
        low: Lower bound of its interval.
        high: Upper bound of its interval.
        is_significant: Whether the interval excludes 0.
    """

    value: float
    low: float
    high: float
    is_significant: bool


def bootstrap(
    predictions: Predictions,
    *,
    threshold: float = 0.5,
    names: Collection[str] | None = None,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> dict[str, ConfidenceInterval]:
    """Compute metrics with bootstrap confidence intervals.

    Args:
        predictions: The predictions with their targets.
        threshold: Minimum probability of a positive label (binary, multilabel).
        names: The metrics to compute; None for all of `compute_all_metrics`. Areas under curves
            and medians take most of the time, in proportion to the number of classes.
        resampling: Number of resamples, confidence level and seed.

    Returns:
        Name → interval. Resamples in which a metric is undefined are ignored for it; without rows
        everything is NaN.
    """
    predictions = _sort(predictions)
    evaluator = MetricEvaluator(predictions, threshold, names)
    (values,) = evaluator.compute(predictions.weights()[None, :])
    draws = np.concatenate([evaluator.compute(w) for w in _draw_weights(predictions, resampling)])
    return _intervals(evaluator.names, values, draws, resampling)


def bootstrap_with_differences(
    predictions: Predictions,
    others: Mapping[str, tuple[Predictions, float]],
    *,
    names: Collection[str],
    threshold: float = 0.5,
    resampling: Resampling = DEFAULT_RESAMPLING,
    difference_resamples: int | None = None,
) -> tuple[dict[str, ConfidenceInterval], dict[str, dict[str, PairedDifference]]]:
    """Compute all metrics as `bootstrap`, and differences from several models on the same resamples.

    Drawing takes most of the time for large splits, so the resamples are drawn once.

    Args:
        predictions: The predictions with their targets.
        others: Name of a model → its predictions for the same rows in any order, and its threshold.
        names: The metrics to compare.
        threshold: Minimum probability of a positive label (binary, multilabel).
        resampling: Number of resamples, confidence level and seed.
        difference_resamples: Number of them for the differences; None for all.

    Returns:
        Name of a metric → interval, and name of a model → name of a metric → difference.
    """
    predictions = _sort(predictions)
    evaluator = MetricEvaluator(predictions, threshold)
    compared = [evaluator.names.index(name) for name in names]
    evaluators = {
        model: MetricEvaluator(_same_rows(predictions, _sort(other)), other_threshold, names)
        for model, (other, other_threshold) in others.items()
    }
    weights = predictions.weights()[None, :]
    (values,) = evaluator.compute(weights)
    other_values = {model: other.compute(weights)[0] for model, other in evaluators.items()}
    draws: list[Float64Array] = []
    other_draws: dict[str, list[Float64Array]] = {model: [] for model in evaluators}
    drawn, needed = (
        0,
        resampling.resamples if difference_resamples is None else difference_resamples,
    )
    for resample_weights in _draw_weights(predictions, resampling):
        draws.append(evaluator.compute(resample_weights))
        for model, other in evaluators.items():
            other_draws[model].append(other.compute(resample_weights[: max(0, needed - drawn)]))
        drawn += len(resample_weights)
    all_draws = np.concatenate(draws)
    return _intervals(evaluator.names, values, all_draws, resampling), {
        model: _differences(
            names,
            values[compared] - other_values[model],
            all_draws[:needed, compared] - np.concatenate(of_model),
            resampling,
        )
        for model, of_model in other_draws.items()
    }


def paired_bootstrap(
    predictions: Predictions,
    other: Predictions,
    *,
    threshold: float = 0.5,
    other_threshold: float | None = None,
    names: Collection[str] | None = None,
    resampling: Resampling = DEFAULT_RESAMPLING,
) -> dict[str, PairedDifference]:
    """Compute the differences of metrics between two sets of predictions, with intervals.

    Both are evaluated on the same resamples, so variation between rows that affects both cancels out.

    Args:
        predictions: The first set.
        other: The second set, for the same rows in any order.
        threshold: Minimum probability of a positive label (binary, multilabel).
        other_threshold: The threshold of the second set; None for the same.
        names: As for `bootstrap`.
        resampling: Number of resamples, confidence level and seed.

    Raises:
        ValueError: The two sets are not for the same rows.
    """
    predictions = _sort(predictions)
    other = _same_rows(predictions, _sort(other))
    first = MetricEvaluator(predictions, threshold, names)
    second = MetricEvaluator(
        other, threshold if other_threshold is None else other_threshold, names
    )
    weights = predictions.weights()[None, :]
    values = (first.compute(weights) - second.compute(weights))[0]
    draws = np.concatenate(
        [first.compute(w) - second.compute(w) for w in _draw_weights(predictions, resampling)]
    )
    return _differences(first.names, values, draws, resampling)


def _intervals(
    names: Collection[str], values: Float64Array, draws: Float64Array, resampling: Resampling
) -> dict[str, ConfidenceInterval]:
    low, high = percentile_interval(draws, resampling.confidence_level)
    return {
        name: ConfidenceInterval(float(values[i]), float(low[i]), float(high[i]))
        for i, name in enumerate(names)
    }


def _differences(
    names: Collection[str], values: Float64Array, draws: Float64Array, resampling: Resampling
) -> dict[str, PairedDifference]:
    low, high = percentile_interval(draws, resampling.confidence_level)
    return {
        name: PairedDifference(
            float(values[i]),
            float(low[i]),
            float(high[i]),
            is_significant=bool(low[i] > 0 or high[i] < 0),
        )
        for i, name in enumerate(names)
    }


def _same_rows(predictions: Predictions, other: Predictions) -> Predictions:
    """Return `other`; raise a ValueError if it is not for the same rows in the same order."""
    if not (predictions.task == other.task and np.array_equal(predictions.y, other.y)
            and np.array_equal(predictions.rows, other.rows)):  # fmt: skip
        raise ValueError("the two sets of predictions are not for the same rows")
    return other


def _sort(predictions: Predictions) -> Predictions:
    """Sort by class, then by row number, so that the draws do not depend on the order of the rows."""
    if TASK_RULES[predictions.task].is_exclusive and predictions.group is None:
        classes = class_indices(predictions.y)
        return predictions.take(np.lexsort((predictions.rows, classes)))
    return predictions.take(np.argsort(predictions.rows, kind="stable"))


def _draw_weights(predictions: Predictions, resampling: Resampling) -> Iterator[Float64Array]:
    """Yield the weights of the rows in each resample, in chunks (resamples, n)."""
    draw = _make_drawer(predictions)
    weight = None if predictions.weight is None else predictions.weights()
    rng, resamples = np.random.default_rng(resampling.seed), resampling.resamples
    chunk = max(1, min(resamples, CHUNK // max(1, len(predictions))))
    for start in range(0, resamples, chunk):
        weights = draw(rng, min(chunk, resamples - start))
        if weight is not None:
            weights *= weight
        yield weights


def _make_drawer(predictions: Predictions) -> Callable[[np.random.Generator, int], Float64Array]:
    """Return a function that draws the multiplicity of each row, (resamples, n)."""
    rows = len(predictions)
    if predictions.group is not None:
        groups, member = np.unique(predictions.group, return_inverse=True)
        strata = (len(groups),)
        return lambda rng, resamples: _draw_counts(rng, resamples, strata)[:, member]
    sizes: tuple[int, ...] = (rows,)
    if TASK_RULES[predictions.task].is_exclusive:
        sizes = tuple(np.bincount(class_indices(predictions.y), minlength=1).tolist())
    return lambda rng, resamples: _draw_counts(rng, resamples, sizes)


def _draw_counts(rng: np.random.Generator, resamples: int, sizes: tuple[int, ...]) -> Float64Array:
    """Draw as many rows from each stratum as it has; return the multiplicities (resamples, Σ sizes)."""
    total = sum(sizes)
    offsets = np.arange(resamples, dtype=np.intp)[:, None] * total
    drawn = np.empty((resamples, total), np.intp)
    start = 0
    for size in sizes:
        if size:
            index = rng.integers(0, size, (resamples, size), dtype=np.uint32)
            np.add(index, offsets + start, out=drawn[:, start : start + size])
        start += size
    counts = np.bincount(drawn.ravel(), minlength=resamples * total)
    return counts.reshape(resamples, total).astype(np.float64)
