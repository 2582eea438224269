"""Which metrics of a run are compared with its baselines, and which of them is the headline.

The headline is the metric that the config optimizes: the monitor of the best epoch, the metric that
the threshold is chosen for, or balanced accuracy with class weights; otherwise the default.
"""

from __future__ import annotations

from collections.abc import Iterable

from trainer.config.resolve import resolved_monitor
from trainer.config.schema import Config, ThresholdCriterion
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.evaluator import MetricEvaluator
from trainer.metrics.predictions import Predictions
from trainer.task_names import TaskName

_METRIC_OF_CRITERION = {"f1": "f1", "youden": "balanced_accuracy"}
"""The metric that a threshold maximizes. There is none for the recall at a precision: a baseline that
does not reach the precision, such as the prior, can have a recall of 1."""


def compared(
    config: Config, task: TaskName, predictions_of_splits: Iterable[Predictions]
) -> tuple[str, ...]:
    """Return the metrics that are compared with the baselines, the headline first.

    Args:
        config: The config of the run.
        task: The name of the task.
        predictions_of_splits: Predictions of each split; targets determine which metrics are defined.
    """
    first = next(
        (
            name
            for name in preferred_metrics(config, task)
            if name in TASK_RULES[task].compared_metrics
            or all(
                name in MetricEvaluator(predictions).names for predictions in predictions_of_splits
            )
        ),
        TASK_RULES[task].compared_metrics[0],
    )
    return tuple(dict.fromkeys((first, *TASK_RULES[task].compared_metrics)))


def preferred_metrics(config: Config, task: TaskName) -> list[str]:
    """Return the metrics that a config optimizes, the most specific first; empty if it names none."""
    names = [resolved_monitor(config.fit, has_validation=True).removeprefix("val_")]
    threshold = config.evaluate.threshold
    if TASK_RULES[task].has_positive_class and isinstance(threshold, ThresholdCriterion):
        names.append(_METRIC_OF_CRITERION.get(threshold.criterion, ""))
    if TASK_RULES[task].predicts_most_likely and config.fit.class_weight is not None:
        names.append("balanced_accuracy")
    return [name for name in names if name not in {"", "loss"}]
