"""Conflicts of the `evaluate` section with the target or the splits."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.resolve import validation_fix
from trainer.config.schema import Config, ThresholdCriterion
from trainer.config.task_rules import TaskRules


def evaluate_conflicts(
    config: Config, rules: TaskRules, has_validation: bool
) -> Iterator[Conflict]:
    """Yield settings that this task, or data without validation rows, does not support.

    Args:
        config: The config.
        rules: The rules of the task.
        has_validation: Whether there are validation rows.
    """
    settings = config.evaluate
    is_chosen = isinstance(settings.threshold, ThresholdCriterion)
    if is_chosen and rules.has_several_labels:
        expected = "a number, as one threshold is used for all columns"
        found = "a criterion"
        yield conflict("evaluate.threshold", expected, found, "set it to 0.5", "data.task")
    if settings.calibrate and not rules.has_classes:
        expected = "calibration only for classification"
        yield conflict(
            "evaluate.calibrate",
            expected,
            f"a target of {rules.description}",
            "remove it",
            "data.task",
        )
    if differs_from_default(settings, "prediction_interval") and rules.has_classes:
        expected = "a prediction interval only for regression"
        yield conflict(
            "evaluate.prediction_interval",
            expected,
            f"a target of {rules.description}",
            "remove it",
            "data.task",
        )
    chosen = {
        "evaluate.threshold": (
            "to tune it on",
            is_chosen and rules.has_positive_class,
            "set it to 0.5",
        ),
        "evaluate.calibrate": ("to fit the temperature on", settings.calibrate, "remove it"),
        "evaluate.prediction_interval": (
            "to compute the intervals from",
            differs_from_default(settings, "prediction_interval") and not rules.has_classes,
            "remove it",
        ),
    }
    if has_validation or settings.decisions_from is not None:
        return
    for key, (purpose, is_set, otherwise) in chosen.items():
        if is_set:
            fix = (
                f"{validation_fix(config)}, take it from another run with "
                f"evaluate.decisions_from: RUN, or {otherwise}"
            )
            yield conflict(key, f"validation rows {purpose}", "none", fix, "data.split.validation")
