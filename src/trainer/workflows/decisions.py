"""What is chosen on the validation rows once a network is trained, and holds for every row after: the
temperature of its probabilities, the threshold of a yes, the half-width of intervals around numbers.

Owns: choosing, and `decisions.json` both ways. Does not own: the methods (`trainer.evaluation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, assert_never

import numpy as np

from trainer.config.schema import Evaluate, ThresholdAim
from trainer.errors import Problem, RunError
from trainer.evaluation.answers import Answers
from trainer.evaluation.calibration import apply_temperature, fit_temperature
from trainer.evaluation.conformal import fit_conformal
from trainer.evaluation.thresholds import Aim, Cost, PrecisionFloor, choose_threshold
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_json
from trainer.runs.readers import DamageError, by_name, maybe, number, read_fields, text
from trainer.workflows.question import NO_THRESHOLD, Question


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was chosen.

    Attributes:
        threshold: A probability of at least this is a yes.
        aim: What it was chosen for, or None where it was stated.
        reached: What it achieves on the validation rows, by measure.
        temperature: What the logits are divided by; 1 where they are left alone.
        coverage: The share of rows whose number is to lie in its interval.
        half_widths: Column → half the width of its intervals, in the target's unit, or on its curve
            where it has one (`data.target_scale: log` or `power`).
        note: What a user should know of it.
        source: The run directory it was taken from, or None where it was chosen here.
    """

    threshold: float = NO_THRESHOLD
    aim: str | None = None
    reached: Mapping[str, float] = field(default_factory=dict)
    temperature: float = 1.0
    coverage: float | None = None
    half_widths: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    source: str | None = None

    def summary(self) -> str:
        """The decisions in a phrase; empty where nothing was decided."""
        parts = []
        if self.aim is not None:
            parts.append(f"threshold {self.threshold:.4g} (chosen for {self.aim})")
        elif self.threshold != NO_THRESHOLD:
            parts.append(f"threshold {self.threshold:.4g}")
        if self.temperature != 1:
            parts.append(f"temperature {self.temperature:.4g}")
        if self.half_widths:
            widths = ", ".join(f"{name} ± {width:.4g}" for name, width in self.half_widths.items())
            parts.append(f"{100 * (self.coverage or 0):g}% intervals ({widths})")
        return ", ".join(parts)


def decide(
    settings: Evaluate,
    question: Question,
    validation: Answers | None,
    taken: Decisions | None = None,
) -> Decisions:
    """Choose what the config asks for.

    Args:
        settings: The `evaluate` section.
        question: What the network answers.
        validation: The answers to the validation rows, as the network gives them; None where there are
            none.
        taken: The decisions of another run, which are then used as they are.
    """
    if taken is not None:
        return taken
    task = question.target.task
    decisions = Decisions(threshold=question.threshold)
    if validation is None:
        return decisions
    if not np.isfinite(validation.p).all():
        note = (
            "no threshold, temperature or intervals were chosen: predictions of validation rows "
            "are not finite"
        )
        return replace(decisions, note=note)
    if task == "regression":
        on_curves = question.target.on_curves
        fitted = fit_conformal(on_curves(validation.y), on_curves(validation.p), settings.coverage)
        if not np.isfinite(fitted.half_width).all():
            note = (
                f"no intervals around predictions: {fitted.rows} validation rows are too few to cover "
                f"{100 * settings.coverage:g}%"
            )
            return replace(decisions, note=note)
        widths = dict(zip(validation.names, map(float, fitted.half_width), strict=True))
        return replace(decisions, coverage=settings.coverage, half_widths=widths)
    if settings.calibrate:
        temperature = fit_temperature(task, validation.y, validation.p, validation.weight)
        decisions = replace(decisions, temperature=temperature)
        validation = replace(validation, p=apply_temperature(task, validation.p, temperature))
    if isinstance(settings.threshold, ThresholdAim) and task == "binary":
        return _with_threshold(decisions, settings.threshold, validation)
    return decisions


def _with_threshold(decisions: Decisions, wanted: ThresholdAim, validation: Answers) -> Decisions:
    aim: Aim
    match wanted.aim:
        case "cost":
            aim = Cost(wanted.false_positive, wanted.false_negative)
        case "precision":
            aim = PrecisionFloor(wanted.precision)
        case "f1" | "youden":
            aim = wanted.aim
        case _:
            assert_never(wanted.aim)
    chosen = choose_threshold(validation.y, validation.p, aim, validation.weight)
    reached = {name: value for name, value in asdict(chosen.point).items() if name != "threshold"}
    if chosen.threshold is None:
        note = (
            f"no threshold reaches a precision of {wanted.precision:g} on the validation rows (at most "
            f"{chosen.value:.4f}): it stays {NO_THRESHOLD}"
        )
        return replace(decisions, aim=wanted.aim, note=note)
    return replace(decisions, threshold=chosen.threshold, aim=wanted.aim, reached=reached)


def decided(question: Question, decisions: Decisions) -> Question:
    """The question as it is asked from now on."""
    widths = decisions.half_widths
    return replace(
        question,
        threshold=decisions.threshold,
        temperature=decisions.temperature,
        half_widths=tuple(widths[name] for name in question.target.columns if name in widths),
    )


def write_decisions(run: RunDirectory, decisions: Decisions) -> None:
    """Write them.

    Raises:
        StorageError: They cannot be written.
    """
    run.write_decisions(asdict(decisions))


def read_decisions(run: RunDirectory) -> Decisions | None:
    """Those of a run; None where it has made none.

    Raises:
        RunError: The file is damaged.
    """
    if not run.decisions.exists():
        return None
    numbers = by_name(number)
    readers = {
        "threshold": number,
        "aim": maybe(text),
        "reached": numbers,
        "temperature": number,
        "coverage": maybe(number),
        "half_widths": numbers,
        "note": text,
        "source": maybe(text),
    }
    content = read_json(run.decisions)
    if isinstance(content, dict):
        content = {"source": None, **content}
    try:
        facts: dict[str, Any] = read_fields(content, readers)
    except DamageError as damage:
        fix = "take the file from a whole copy of the run"
        raise RunError(Problem(str(run.decisions), damage.expected, damage.found, fix)) from damage
    return Decisions(**facts)
