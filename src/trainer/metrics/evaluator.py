"""All metrics of a task, by name, for one or many weightings of the rows.

The definitions are those of `trainer.metrics`. Names are those of
`trainer.config.metrics.MetricName`, and:

- binary: nothing else;
- multiclass and multilabel: `precision`, `recall`, `specificity`, `f1`, `auc` and `average_precision`
  are macro averages. `…_micro` pools all decisions (not for `auc` and `average_precision`, as scores of
  different classes are not comparable). `…_weighted` averages classes or columns by the weight of their
  positive rows, without those that have none;
- `PART/name`: the metric of one class against the rest, or of one column, as for binary targets. With
  several classes, a row counts as predicted positive for a class if that class has the highest
  probability.

`mape` is included only where it is meaningful: no target is closer to 0 than one hundredth of the median
absolute target. `top_3_accuracy` and `top_5_accuracy` need more classes than that. Every metric is NaN
without rows or weight, or when a prediction is not finite.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from trainer.config.metrics import METRICS
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.arrays import Float64Array, FloatArray
from trainer.metrics.compute import make_metrics
from trainer.metrics.predictions import Predictions

SEPARATOR = "/"
NEAR_ZERO = 0.01


def compute_all_metrics(predictions: Predictions, threshold: float = 0.5) -> dict[str, float]:
    """Compute every metric of some predictions.

    Args:
        predictions: The predictions with their targets.
        threshold: Minimum probability of a positive label (binary, multilabel).

    Returns:
        Name → value, overall metrics first, then those of each part; NaN where undefined.
    """
    evaluator = MetricEvaluator(predictions, threshold)
    return dict(zip(evaluator.names, map(float, evaluator.of_all_rows()), strict=True))


def split_metric_name(name: str) -> tuple[str, str]:
    """Split `PART/metric` into the part and the metric; the part is empty for overall metrics."""
    part, _, metric = name.rpartition(SEPARATOR)
    return part, metric


def is_higher_better(name: str) -> bool:
    """Return whether higher values of a metric are better; for any name from `compute_all_metrics`."""
    metric = split_metric_name(name)[1]
    for suffix in ("_micro", "_weighted"):
        metric = metric.removesuffix(suffix)
    return METRICS[metric].better == "higher"  # type: ignore[index]


@dataclass(frozen=True, slots=True)
class _MetricKey:
    """A metric and the index of its class or column; None for the overall metric."""

    name: str
    part: int | None


class MetricEvaluator:
    """Computes metrics of fixed predictions for any weighting of the rows."""

    def __init__(
        self, predictions: Predictions, threshold: float = 0.5, names: Collection[str] | None = None
    ) -> None:
        """Precompute what does not depend on the weights.

        Args:
            predictions: The predictions with their targets.
            threshold: Minimum probability of a positive label (binary, multilabel).
            names: The metrics to compute, all of them defined for the task; None for all.
        """
        self._weight, self._rows = predictions.weight, len(predictions)
        self._finite = bool(np.isfinite(predictions.p).all())
        p = predictions.p if self._finite else np.zeros_like(predictions.p)
        self._metrics = make_metrics(predictions.task, predictions.y, p, threshold)
        self._has_mape = [is_mape_defined(column) for column in predictions.y.T]
        keys = self._find_keys(predictions)
        if names is None:
            names = [name for name, key in keys.items() if self._is_defined(key)]
        assert set(names) <= set(keys), set(names) - set(keys)
        self._keys = [keys[name] for name in names]
        self.names = tuple(names)

    def of_all_rows(self) -> Float64Array:
        """Compute the metrics with the weights of the predictions, (len(names),)."""
        weight = self._weight
        (values,) = self.compute(None if weight is None else weight[None].astype(np.float64))
        return np.asarray(values)

    def compute(self, weights: Float64Array | None) -> Float64Array:
        """Compute the metrics for each weighting.

        Args:
            weights: (r, n), non-negative; None for one weighting of equal weights, which takes a
                fraction of the memory.

        Returns:
            (r, len(names)); NaN where a metric is undefined.
        """
        has_weight = np.array([self._rows > 0]) if weights is None else weights.sum(axis=1) > 0
        values = np.full((len(has_weight), len(self.names)), np.nan)
        if not (self._finite and has_weight.any()):
            return values
        if weights is not None and not has_weight.all():
            weights = weights[has_weight]
        metrics = self._metrics.weighted(weights)
        for index, key in enumerate(self._keys):
            if self._is_defined(key):
                values[has_weight, index] = (
                    metrics.overall(key.name)
                    if key.part is None
                    else metrics.by_part(key.name)[:, key.part]
                )
        return values

    def _is_defined(self, key: _MetricKey) -> bool:
        has_mape = self._has_mape
        return key.name != "mape" or (all(has_mape) if key.part is None else has_mape[key.part])

    def _find_keys(self, predictions: Predictions) -> dict[str, _MetricKey]:
        """Return every metric name with its key."""
        keys = {name: _MetricKey(name, None) for name in self._metrics.names}
        rules = TASK_RULES[predictions.task]
        if predictions.y.shape[1] == 1 and (rules.has_positive_class or not rules.has_classes):
            return keys
        for index, part in enumerate(predictions.names):
            for name in self._metrics.part_names:
                keys[f"{part}{SEPARATOR}{name}"] = _MetricKey(name, index)
        return keys


def is_mape_defined(y: FloatArray) -> bool:
    """Return whether the percentage error is meaningful.

    It is not where a target is closer to 0 than one hundredth of the median absolute target.
    """
    sizes = np.abs(y.astype(np.float64))
    return bool(len(y) and sizes.min() > NEAR_ZERO * np.median(sizes))
