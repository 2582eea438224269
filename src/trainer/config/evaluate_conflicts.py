"""What of the `evaluate` section contradicts the target or the split."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.data import TaskName
from trainer.config.resolve import validation_fix
from trainer.config.schema import Config, ThresholdAim


def evaluate_conflicts(
    config: Config, task: TaskName, words: str, has_validation: bool
) -> Iterator[Conflict]:
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
    if differs_from_default(settings, "prediction_interval") and task != "regression":
        expected = "a prediction interval only for numbers"
        yield conflict(
            "evaluate.prediction_interval",
            expected,
            f"a target of {words}",
            "take it out",
            "data.task",
        )
    chosen = {
        "evaluate.threshold": ("to choose it on", is_chosen and task == "binary", "set it to 0.5"),
        "evaluate.calibrate": ("to fit the temperature on", settings.calibrate, "take it out"),
        "evaluate.prediction_interval": (
            "to measure the intervals on",
            differs_from_default(settings, "prediction_interval") and task == "regression",
            "take it out",
        ),
    }
    if has_validation or settings.decisions_from is not None:
        return
    for key, (purpose, is_wanted, otherwise) in chosen.items():
        if is_wanted:
            fix = (
                f"{validation_fix(config)}, take it from a run that has some with "
                f"evaluate.decisions_from: RUN, or {otherwise}"
            )
            yield conflict(key, f"validation rows {purpose}", "none", fix, "data.split.validation")
