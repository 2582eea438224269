"""Percentile bootstrap intervals of metrics, and of differences between two sets of predictions.

All metrics, and all sets of predictions, are computed on the same resamples of the rows (`resampling`).
If these are of parts of the rows, intervals are those of the deviations from the metrics of each part.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.assessment.intervals import ConfidenceInterval, percentile_interval
from trainer.assessment.resampling import (
    DEFAULT_RESAMPLING,
    Part,
    Resampling,
    draw_parts,
    sort_rows,
)
from trainer.metrics.arrays import Float64Array
from trainer.metrics.evaluator import MetricEvaluator
from trainer.metrics.predictions import Predictions


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
    model = _Model.make(sort_rows(predictions), threshold, names)
    (draws,) = _draw((model,), resampling, resampling.resamples)
    return _intervals(model, draws, resampling)


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
    predictions = sort_rows(predictions)
    first = _Model.make(predictions, threshold, None)
    compared = [first.names.index(name) for name in names]
    models = [
        _Model.make(_same_rows(predictions, sort_rows(other)), other_threshold, names)
        for other, other_threshold in others.values()
    ]
    needed = resampling.resamples if difference_resamples is None else difference_resamples
    draws, *draws_of_models = _draw((first, *models), resampling, needed)
    differences = {
        name: _differences(model, first.values[compared], draws[:, compared], of_model, resampling)
        for name, model, of_model in zip(others, models, draws_of_models, strict=True)
    }
    return _intervals(first, draws, resampling), differences


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
    predictions = sort_rows(predictions)
    other = _same_rows(predictions, sort_rows(other))
    first = _Model.make(predictions, threshold, names)
    second = _Model.make(other, threshold if other_threshold is None else other_threshold, names)
    draws, other_draws = _draw((first, second), resampling, resampling.resamples)
    return _differences(second, first.values, draws, other_draws, resampling)


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """A set of predictions, and its metrics.

    Attributes:
        predictions: The predictions, sorted by `sort_rows`.
        threshold: Minimum probability of a positive label.
        names: Names of metrics.
        values: The metrics of all rows, (len(names),).
    """

    predictions: Predictions
    threshold: float
    names: tuple[str, ...]
    values: Float64Array

    @staticmethod
    def make(predictions: Predictions, threshold: float, names: Collection[str] | None) -> _Model:
        """Compute the metrics of all rows."""
        evaluator = MetricEvaluator(predictions, threshold, names)
        return _Model(predictions, threshold, evaluator.names, evaluator.of_all_rows())

    def on(self, part: Part) -> Callable[[Float64Array], Float64Array]:
        """Return a function that computes the metrics of all rows for weights (r, m) of a part."""
        predictions = self.predictions if part.index is None else self.predictions.take(part.index)
        evaluator = MetricEvaluator(predictions, self.threshold, self.names)
        if part.index is None:
            return evaluator.compute
        difference = self.values - evaluator.compute(part.base)
        return lambda weights: evaluator.compute(weights) + difference


def _draw(
    models: Sequence[_Model], resampling: Resampling, other_resamples: int
) -> list[Float64Array]:
    """Compute metrics of all models on the same resamples.

    Args:
        models: The models, with the same rows.
        resampling: Number of resamples and seed.
        other_resamples: The number of resamples of all models but the first.

    Returns:
        For each model, the metrics in each resample, (resamples, metrics).
    """
    draws: list[list[Float64Array]] = [[] for _ in models]
    drawn = 0
    for part in draw_parts(models[0].predictions, resampling):
        is_first_only = drawn >= other_resamples
        metrics = [model.on(part) for model in (models[:1] if is_first_only else models)]
        for weights in part.weights:
            draws[0].append(metrics[0](weights))
            for compute, of_model in zip(metrics[1:], draws[1:], strict=False):
                of_model.append(compute(weights[: max(0, other_resamples - drawn)]))
            drawn += len(weights)
    return [np.concatenate(of_model) for of_model in draws]


def _intervals(
    model: _Model, draws: Float64Array, resampling: Resampling
) -> dict[str, ConfidenceInterval]:
    low, high = percentile_interval(draws, resampling.confidence_level)
    return {
        name: ConfidenceInterval(float(model.values[i]), float(low[i]), float(high[i]))
        for i, name in enumerate(model.names)
    }


def _differences(
    model: _Model,
    values: Float64Array,
    draws: Float64Array,
    other_draws: Float64Array,
    resampling: Resampling,
) -> dict[str, PairedDifference]:
    """Return the differences of values, and of draws, from a model's."""
    value = values - model.values
    low, high = percentile_interval(
        draws[: len(other_draws)] - other_draws, resampling.confidence_level
    )
    return {
        name: PairedDifference(
            float(value[i]),
            float(low[i]),
            float(high[i]),
            is_significant=bool(low[i] > 0 or high[i] < 0),
        )
        for i, name in enumerate(model.names)
    }


def _same_rows(predictions: Predictions, other: Predictions) -> Predictions:
    """Return `other`; raise a ValueError if it is not for the same rows in the same order."""
    if not (predictions.task == other.task and np.array_equal(predictions.y, other.y)
            and np.array_equal(predictions.rows, other.rows)):  # fmt: skip
        raise ValueError("the two sets of predictions are not for the same rows")
    return other
