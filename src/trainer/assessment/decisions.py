"""Decisions made on the validation rows after training, which apply to all later predictions: the
temperature of probabilities, the classification threshold, and the half-widths of prediction
intervals.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import assert_never

import numpy as np

from trainer.assessment.calibration import fit_temperature
from trainer.assessment.conformal import fit_conformal
from trainer.assessment.thresholds import Cost, Criterion, PrecisionFloor, choose_threshold
from trainer.config.schema import Evaluate, ThresholdCriterion
from trainer.config.task_rules import TASK_RULES
from trainer.metrics.activations import apply_temperature
from trainer.metrics.predictions import Predictions
from trainer.runs.decisions import DEFAULT_THRESHOLD, Decisions
from trainer.tasks.task import Task


def choose_decisions(
    settings: Evaluate,
    task: Task,
    validation: Predictions | None,
    inherited: Decisions | None = None,
) -> Decisions:
    """Make the decisions that the config requires.

    Args:
        settings: The `evaluate` section.
        task: The task.
        validation: Predictions for the validation rows, without these decisions; None without such
            rows.
        inherited: Decisions of another run, which are returned as they are.
    """
    if inherited is not None:
        return inherited
    task_name = task.name
    decisions = Decisions(threshold=task.threshold)
    if validation is None:
        return decisions
    if not np.isfinite(validation.p).all():
        note = (
            "no threshold, temperature or intervals were chosen: predictions of validation rows "
            "are not finite"
        )
        return replace(decisions, note=note)
    rules = TASK_RULES[task_name]
    if not rules.has_classes:
        first, last = task.interval_base(validation.all_predictions())
        y = task.target.to_interval_scale(validation.y)
        conformal = fit_conformal(y, first, settings.prediction_interval, last)
        if not np.isfinite(conformal.half_width).all():
            note = (
                f"no prediction intervals: {conformal.rows} validation rows are too few for "
                f"{100 * settings.prediction_interval:g}% coverage"
            )
            return replace(decisions, note=note)
        widths = dict(zip(validation.names, map(float, conformal.half_width), strict=True))
        columns = zip(task.target.columns, task.target.transforms, strict=False)
        return replace(
            decisions,
            coverage=settings.prediction_interval,
            half_widths=widths,
            quantiles=(task.quantiles[0], task.quantiles[-1]) if task.quantiles else (),
            target_scales={name: fitted.kind for name, fitted in columns if fitted is not None},
        )
    if settings.calibrate:
        temperature = fit_temperature(task_name, validation.y, validation.p, validation.weight)
        decisions = replace(decisions, temperature=temperature)
        validation = replace(validation, p=apply_temperature(task_name, validation.p, temperature))
    if isinstance(settings.threshold, ThresholdCriterion) and rules.has_positive_class:
        return _with_threshold(decisions, settings.threshold, validation)
    return decisions


def _with_threshold(
    decisions: Decisions, settings: ThresholdCriterion, validation: Predictions
) -> Decisions:
    criterion: Criterion
    match settings.criterion:
        case "cost":
            criterion = Cost(settings.false_positive_cost, settings.false_negative_cost)
        case "precision":
            criterion = PrecisionFloor(settings.min_precision)
        case "f1" | "youden":
            criterion = settings.criterion
        case _:
            assert_never(settings.criterion)
    chosen = choose_threshold(validation.y, validation.p, criterion, validation.weight)
    achieved = {name: value for name, value in asdict(chosen.point).items() if name != "threshold"}
    if chosen.threshold is None:
        note = (
            f"no threshold reaches a precision of {settings.min_precision:g} on the validation rows (at "
            f"most {chosen.value:.4f}): it stays {DEFAULT_THRESHOLD}"
        )
        return replace(decisions, criterion=settings.criterion, note=note)
    return replace(
        decisions, threshold=chosen.threshold, criterion=settings.criterion, achieved=achieved
    )
