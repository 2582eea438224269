"""All metrics of a task, by name, for one or many weightings of the rows.

The definitions are those of `trainer.models.metrics`. Names are those of
`trainer.config.objectives.MetricName`, and:

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
from dataclasses import dataclass, replace

import numpy as np

from trainer.config.objectives import METRICS
from trainer.config.task_rules import TASK_RULES
from trainer.evaluation.label_metrics import RANKING_METRICS, LabelMetrics
from trainer.evaluation.predictions import Float64Array, Predictions
from trainer.evaluation.regression_metrics import RegressionMetrics

SEPARATOR = "/"
_NEED_SORTING = (
    *RANKING_METRICS,
    *(f"{name}_weighted" for name in RANKING_METRICS),
    "median_absolute_error",
)


def compute_all_metrics(predictions: Predictions, threshold: float = 0.5) -> dict[str, float]:
    """Compute every metric of some predictions.

    Args:
        predictions: The predictions with their targets.
        threshold: A label is positive from this probability on (binary, multilabel).

    Returns:
        Name → value, overall metrics first, then those of each part; NaN where undefined.
    """
    evaluator = MetricEvaluator(predictions, threshold)
    (values,) = evaluator.compute(predictions.weights()[None, :])
    return dict(zip(evaluator.names, map(float, values), strict=True))


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
            threshold: A label is positive from this probability on (binary, multilabel).
            names: The metrics to compute, all of them defined for the task; None for all.
        """
        self._finite = bool(np.isfinite(predictions.p).all())
        ranked = names is None or any(split_metric_name(name)[1] in _NEED_SORTING for name in names)
        if not self._finite:
            predictions = replace(predictions, p=np.zeros_like(predictions.p))
        self._metrics = (
            LabelMetrics(predictions, threshold, ranked=ranked)
            if TASK_RULES[predictions.task].has_classes
            else RegressionMetrics(predictions, ranked=ranked)
        )
        self._keys = self._find_keys(predictions)
        if names is None and isinstance(self._metrics, RegressionMetrics):
            has_mape = self._metrics.has_mape
            self._keys = {
                name: key
                for name, key in self._keys.items()
                if key.name != "mape" or (all(has_mape) if key.part is None else has_mape[key.part])
            }
        if names is not None:
            assert set(names) <= set(self._keys), set(names) - set(self._keys)
            self._keys = {name: self._keys[name] for name in names}
        self.names = tuple(self._keys)

    def compute(self, weights: Float64Array) -> Float64Array:
        """Compute the metrics for each weighting.

        Args:
            weights: (r, n) of at least 0.

        Returns:
            (r, len(names)); NaN where a metric is undefined.
        """
        values = np.full((len(weights), len(self.names)), np.nan)
        has_weight = weights.sum(axis=1) > 0
        if not (self._finite and has_weight.any()):
            return values
        overall, parts = self._metrics.compute(weights if has_weight.all() else weights[has_weight])
        for index, key in enumerate(self._keys.values()):
            column = overall[key.name] if key.part is None else parts[key.name][:, key.part]
            values[has_weight, index] = column
        return values

    def _find_keys(self, predictions: Predictions) -> dict[str, _MetricKey]:
        """Return every metric name with its key, without expensive computation."""
        with np.errstate(divide="ignore", invalid="ignore"):
            overall, parts = self._metrics.compute(np.zeros((1, len(predictions))))
        keys = {name: _MetricKey(name, None) for name in overall}
        rules = TASK_RULES[predictions.task]
        if predictions.y.shape[1] == 1 and (rules.has_positive_class or not rules.has_classes):
            return keys
        for index, part in enumerate(predictions.names):
            for name in parts:
                keys[f"{part}{SEPARATOR}{name}"] = _MetricKey(name, index)
        return keys
