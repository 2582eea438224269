"""What of the `evaluate` section contradicts the target or the split."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.conflicts import Contradiction, conflict, is_stated
from trainer.config.data import Task
from trainer.config.schema import Config, ThresholdAim


def evaluate_conflicts(
    config: Config, task: Task, words: str, has_validation: bool
) -> Iterator[Contradiction]:
    """What is asked for that this task, or a split without validation rows, cannot give.

    Args:
        config: The config.
        task: What is predicted.
        words: The task in words.
        has_validation: Whether there are validation rows.
    """
    settings = config.evaluate
    is_chosen = isinstance(settings.threshold, ThresholdAim)
    if is_chosen and task == "multilabel":
        expected = "a number: one threshold holds for all columns"
        found = "one that is chosen for a column"
        yield conflict("evaluate.threshold", expected, found, "set it to 0.5", "data.task")
    if settings.calibrate and task == "regression":
        expected = "calibration only of probabilities"
        yield conflict(
            "evaluate.calibrate", expected, f"a target of {words}", "take it out", "data.task"
        )
    if is_stated(settings, "coverage") and task != "regression":
        expected = "a coverage only for numbers"
        yield conflict(
            "evaluate.coverage", expected, f"a target of {words}", "take it out", "data.task"
        )
    asked = {
        "evaluate.threshold": ("to choose it on", is_chosen and task == "binary"),
        "evaluate.calibrate": ("to fit the temperature on", settings.calibrate),
    }
    for key, (purpose, is_asked) in asked.items():
        if is_asked and not has_validation:
            fix = "set data.split.validation above 0, or take it out"
            yield conflict(key, f"validation rows {purpose}", "none", fix, "data.split.validation")
