"""Which metrics of a run are compared with its baselines, and which of them is the headline.

The headline is the metric that was aimed at: the one that chose the best epoch, else the one that the
threshold was chosen for, else with class weights one that weighs classes alike, else the first.
"""

from __future__ import annotations

from collections.abc import Collection

from trainer.config.data import TaskName
from trainer.config.resolve import resolved_monitor
from trainer.config.schema import Config, ThresholdCriterion
from trainer.evaluation.metrics import COMPARED_METRICS, MetricEvaluator
from trainer.evaluation.predictions import Predictions

_OF_AIM = {"f1": "f1", "youden": "balanced_accuracy"}
"""The metric that a threshold maximizes. Of the recall at a precision there is none: a baseline that
reaches no such precision, as the prior, can have a recall of 1."""


def compared(config: Config, task: TaskName, answers: Collection[Predictions]) -> tuple[str, ...]:
    """The metrics that are compared with the baselines, the headline first.

    Args:
        config: The run's.
        task: What is predicted.
        answers: The predictions of each split: whether there is a metric can depend on the targets.
    """
    first = next(
        (
            name
            for name in preferred_metrics(config, task)
            if name in COMPARED_METRICS[task]
            or all(name in MetricEvaluator(one).names for one in answers)
        ),
        COMPARED_METRICS[task][0],
    )
    return tuple(dict.fromkeys((first, *COMPARED_METRICS[task])))


def preferred_metrics(config: Config, task: TaskName) -> list[str]:
    """The metrics that a config aims at, the most telling first; empty where it names none."""
    found = [resolved_monitor(config.fit, has_validation=True).removeprefix("val_")]
    threshold = config.evaluate.threshold
    if task == "binary" and isinstance(threshold, ThresholdCriterion):
        found.append(_OF_AIM.get(threshold.criterion, ""))
    if task == "multiclass" and config.fit.class_weight is not None:
        found.append("balanced_accuracy")
    return [name for name in found if name not in {"", "loss"}]
