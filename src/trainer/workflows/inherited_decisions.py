"""Threshold, temperature and interval widths that are taken from another run
(`evaluate.decisions_from`), for a network without validation rows of its own. No TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from trainer.config.conflict import differs_from_default
from trainer.config.schema import Config, ThresholdCriterion
from trainer.data.targets import FittedTarget
from trainer.errors import ConfigError, Problem, RunError, TrainerError, command_text
from trainer.runs.decisions import Decisions, read_decisions
from trainer.workflows.trained_runs import open_members

_KEY = "evaluate.decisions_from"


def read_inherited_decisions(config: Config, target: FittedTarget) -> Decisions | None:
    """The decisions of the run that `evaluate.decisions_from` names; None where it names none.

    Args:
        config: The config.
        target: The fitted target of the run that takes them.

    Raises:
        RunError: There is no such run, it is damaged or not evaluated, or it predicts something else.
        ConfigError: The `evaluate` section contradicts what it decided.
    """
    place = config.evaluate.decisions_from
    if place is None:
        return None
    try:
        run, members = open_members(Path(place))
        decisions = read_decisions(run)
    except TrainerError as wrong:
        raise type(wrong)(
            replace(problem, where="", key=_KEY, found=f"{problem.found} at {problem.where}")
            for problem in wrong.problems
        ) from wrong
    if decisions is None:
        fix = f"resume it first: {command_text('resume', run.path)}"
        raise RunError(Problem("", "a run that has been evaluated", f"{run.path}", fix, _KEY))
    theirs = members[0].preprocessing.target
    for what in ("task", "columns", "classes"):
        wanted, found = getattr(target, what), getattr(theirs, what)
        if wanted != found:
            fix = "name a run of the same target, or take it out"
            expected = f"a run whose target has the same {what}: {_listed(wanted)}"
            raise RunError(Problem("", expected, _listed(found), fix, _KEY))
    problems = list(_contradictions(config, decisions))
    if problems:
        raise ConfigError(problems)
    note = decisions.note
    if target.task == "regression" and not decisions.half_widths:
        note = note or f"no intervals around predictions: {place} has none"
    return replace(decisions, source=place, note=note)


def _contradictions(config: Config, decisions: Decisions) -> Iterator[Problem]:
    """What the config states otherwise than it was decided."""
    settings = config.evaluate
    wanted = settings.threshold
    if isinstance(wanted, ThresholdCriterion):
        if wanted.criterion != decisions.criterion:
            there = (
                "was stated"
                if decisions.criterion is None
                else f"was chosen for {decisions.criterion}"
            )
            expected = f"a run whose threshold was chosen for {wanted.criterion}"
            fix = "name another run, or take evaluate.threshold out: that of the run is used"
            yield Problem("", expected, f"one whose threshold {there}", fix, _KEY)
    elif differs_from_default(settings, "threshold") and wanted != decisions.threshold:
        expected = f"{decisions.threshold:g}, the threshold of {settings.decisions_from}"
        fix = "take it, or evaluate.decisions_from, out"
        yield Problem("", expected, f"{wanted:g}", fix, "evaluate.threshold")
    coverage = decisions.coverage
    if differs_from_default(settings, "prediction_interval") and coverage not in (
        None,
        settings.prediction_interval,
    ):
        expected = f"{coverage:g}, the coverage of the intervals of {settings.decisions_from}"
        fix = "take it, or evaluate.decisions_from, out"
        yield Problem(
            "", expected, f"{settings.prediction_interval:g}", fix, "evaluate.prediction_interval"
        )


def _listed(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value[:20]) or "none"
