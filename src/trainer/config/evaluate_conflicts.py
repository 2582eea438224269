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
    if has_validation or settings.decisions_from is not None:
        return
    tunes_threshold = is_chosen and rules.has_positive_class
    has_interval = differs_from_default(settings, "prediction_interval") and rules.has_numbers
    chosen = [
        ("evaluate.threshold", tunes_threshold, "to tune it on", "set it to 0.5"),
        ("evaluate.calibrate", settings.calibrate, "to fit the temperature on", "remove it"),
        (
            "evaluate.prediction_interval",
            has_interval,
            "to compute the intervals from",
            "remove it",
        ),
    ]
    for key, is_set, purpose, otherwise in chosen:
        if is_set:
            fix = (
                f"{validation_fix(config)}, take it from another run with "
                f"evaluate.decisions_from: RUN, or {otherwise}"
            )
            yield conflict(key, f"validation rows {purpose}", "none", fix, "data.split.validation")
