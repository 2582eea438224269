"""Decisions inherited from another run (`evaluate.decisions_from`), for a network without validation
rows: threshold, temperature and interval widths. Does not import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from trainer.config.conflict import differs_from_default
from trainer.config.schema import Config, ThresholdCriterion
from trainer.config.task_rules import TASK_RULES
from trainer.data.targets import FittedTarget
from trainer.errors import ConfigError, Problem, RunError, TrainerError, command_text
from trainer.prediction.trained_runs import open_members
from trainer.runs.decisions import Decisions, read_decisions

_KEY = "evaluate.decisions_from"


def inherited_decisions(
    config: Config, target: FittedTarget, recorded: Decisions | None = None
) -> Decisions | None:
    """Return the decisions of the run that `evaluate.decisions_from` names, or None.

    Args:
        config: The config.
        target: The fitted target of the inheriting run.
        recorded: The decisions of a resumed run. Those of the same run are not read again.

    Raises:
        RunError: The run does not exist, is damaged, has not been evaluated, or predicts another
            target.
        ConfigError: The `evaluate` section contradicts the decisions.
    """
    source = config.evaluate.decisions_from
    if source is None:
        return None
    if recorded is not None and recorded.source == source:
        return recorded
    try:
        run, members = open_members(Path(source))
        decisions = read_decisions(run)
    except TrainerError as error:
        raise type(error)(
            replace(problem, where="", key=_KEY, found=f"{problem.found} at {problem.where}")
            for problem in error.problems
        ) from error
    if decisions is None:
        fix = f"resume it first: {command_text('resume', run.path)}"
        raise RunError(Problem("", "a run that has been evaluated", f"{run.path}", fix, _KEY))
    source_target = members[0].preprocessing.target
    for attribute in ("task", "columns", "classes"):
        expected_value, found = getattr(target, attribute), getattr(source_target, attribute)
        if expected_value != found:
            fix = "name a run with the same target, or remove the setting"
            expected = f"a run whose target has the same {attribute}: {_listed(expected_value)}"
            raise RunError(Problem("", expected, _listed(found), fix, _KEY))
    levels = config.loss.predicted_quantiles
    if decisions.half_widths and decisions.quantiles != (levels[:1] + levels[-1:]):
        fix = "name a run with the same loss, or remove the setting"
        expected = "a run whose intervals are based on " + _interval_base(levels[:1] + levels[-1:])
        found = f"intervals based on {_interval_base(decisions.quantiles)}"
        raise RunError(Problem("", expected, found, fix, _KEY))
    problems = list(_conflicts(config, decisions))
    if problems:
        raise ConfigError(problems)
    note = decisions.note
    if not TASK_RULES[target.task].has_classes and not decisions.half_widths:
        note = note or f"no prediction intervals: {source} has none"
    return replace(decisions, source=source, note=note)


def _conflicts(config: Config, decisions: Decisions) -> Iterator[Problem]:
    """Report settings of the config that contradict the decisions."""
    settings = config.evaluate
    threshold = settings.threshold
    if isinstance(threshold, ThresholdCriterion):
        if threshold.criterion != decisions.criterion:
            actual = (
                "was set"
                if decisions.criterion is None
                else f"was chosen for {decisions.criterion}"
            )
            expected = f"a run whose threshold was chosen for {threshold.criterion}"
            fix = "name another run, or remove evaluate.threshold to use that of the run"
            yield Problem("", expected, f"a run whose threshold {actual}", fix, _KEY)
    elif differs_from_default(settings, "threshold") and threshold != decisions.threshold:
        expected = f"{decisions.threshold:g}, the threshold of {settings.decisions_from}"
        fix = "remove it, or evaluate.decisions_from"
        yield Problem("", expected, f"{threshold:g}", fix, "evaluate.threshold")
    coverage = decisions.coverage
    if differs_from_default(settings, "prediction_interval") and coverage not in (
        None,
        settings.prediction_interval,
    ):
        expected = f"{coverage:g}, the coverage of the intervals of {settings.decisions_from}"
        fix = "remove it, or evaluate.decisions_from"
        yield Problem(
            "", expected, f"{settings.prediction_interval:g}", fix, "evaluate.prediction_interval"
        )


def _interval_base(quantiles: tuple[float, ...]) -> str:
    return f"the quantiles {quantiles[0]:g} and {quantiles[1]:g}" if quantiles else "the prediction"


def _listed(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value[:20]) or "none"


def inherited_notes(decisions: Decisions | None) -> tuple[str, ...]:
    """Return a note for the user about decisions that are taken from another run, if there are any."""
    summary = "" if decisions is None else decisions.summary()
    if decisions is None or not summary:
        return ()
    source = Path(decisions.source or "")
    working_directory = Path.cwd()
    is_below = source.is_relative_to(working_directory)
    shown_path = source.relative_to(working_directory) if is_below else source
    return (f"{summary}: taken from {shown_path}",)
