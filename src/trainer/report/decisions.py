"""The decisions of a run as text (threshold, temperature, prediction intervals, class weights), and
labels for its metrics: which are calibrated, scaled or macro averages.

Imports neither pydantic nor numpy unless needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from trainer.config.task_rules import TASK_RULES
from trainer.errors import RunError
from trainer.report.settings import read_settings
from trainer.report.text import number
from trainer.runs.decisions import DEFAULT_THRESHOLD, Decisions, read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.records import to_json

_AVERAGED = {"precision", "recall", "specificity", "f1", "auc", "average_precision"}
"""Metrics that are macro averages over classes or columns, by `trainer.config.metrics`."""
_PROBABILITY_METRICS = {"log_loss", "brier"}
_THRESHOLD_METRICS = {"precision", "recall", "specificity", "f1"}
_MAX_CLASSES = 12


@dataclass(frozen=True, slots=True)
class MetricLabels:
    """Labels of the metrics of a run.

    Attributes:
        task: The task; None if unknown.
        is_scaled: Whether a regression is trained on a scaled target.
        is_calibrated: Whether probabilities are calibrated after training.
    """

    task: str | None = None
    is_scaled: bool = False
    is_calibrated: bool = False

    def display_name(self, name: str) -> str:
        """Return the name with a qualifier if needed: `f1 (macro)`, `loss (of the scaled target)`."""
        rules = None if self.task is None else TASK_RULES.get(self.task)  # type: ignore[call-overload]
        if name == "loss":
            if rules is not None and rules.has_numbers and self.is_scaled:
                return "loss (of the scaled target)"
            return "loss (before calibration)" if self.is_calibrated else name
        if name in _PROBABILITY_METRICS and self.is_calibrated:
            return f"{name} (calibrated)"
        is_averaged = rules is not None and rules.has_classes and not rules.has_positive_class
        return f"{name} (macro)" if name in _AVERAGED and is_averaged else name


def common_label(labels: Sequence[MetricLabels], name: str) -> str:
    """Return the label of a metric for several runs: the plain name where their labels differ."""
    texts = {run_labels.display_name(name) for run_labels in labels}
    return texts.pop() if len(texts) == 1 else name


@dataclass(frozen=True, slots=True)
class DecisionSummary:
    """The decisions of a run as text.

    Attributes:
        labels: The labels of its metrics.
        decisions: Lines about what was chosen on the validation rows.
        class_weights: The weight of each class; empty for equal weights.
        notes: What could not be chosen, and why.
    """

    labels: MetricLabels
    decisions: tuple[str, ...] = ()
    class_weights: str = ""
    notes: tuple[str, ...] = ()


def read_decision_summary(run: RunDirectory) -> DecisionSummary:
    """Read the decisions of a run; damaged files are skipped, as other readers report them."""
    members = _members(run)
    preprocessing: Any = None
    for directory in (run, *members):
        if directory.preprocessing.exists():
            with suppress(RunError):
                preprocessing = directory.read_preprocessing()
            break
    chosen = _decisions(run)
    member_decisions = [
        decisions for member in members if (decisions := _decisions(member)) is not None
    ]
    task, is_scaled = _target(preprocessing)
    temperatures = [item.temperature for item in member_decisions if item.temperature != 1]
    is_calibrated = bool(temperatures) or (chosen is not None and chosen.temperature != 1)
    lines = [] if chosen is None else list(decision_lines(chosen, preprocessing))
    if temperatures:
        low, high = number(min(temperatures)), number(max(temperatures))
        between = low if low == high else f"{low} to {high}"
        lines.append(f"temperature {between}, one per network ({len(member_decisions)})")
    return DecisionSummary(
        MetricLabels(task, is_scaled, is_calibrated),
        tuple(lines),
        _class_weights(run, preprocessing),
        (chosen.note,) if chosen is not None and chosen.note else (),
    )


def decisions_json(run: RunDirectory) -> dict[str, Any] | None:
    """Return the decisions of a run for `--json`; None if there are none or they are damaged."""
    decisions = _decisions(run)
    return None if decisions is None else dict(to_json(decisions))


def decision_lines(chosen: Decisions, preprocessing: Any = None) -> Iterator[str]:
    """Yield a line for the threshold, the temperature and the prediction intervals.

    Args:
        chosen: The decisions.
        preprocessing: The content of `preprocessing.json`; it has the transformation of the target,
            which determines the form of the intervals.
    """
    source = "" if chosen.source is None else f", on {chosen.rows_text}"
    if chosen.chosen_for is not None:
        reached = ", ".join(
            f"{name} {number(value)}"
            for name, value in chosen.achieved.items()
            if name in _THRESHOLD_METRICS
        )
        metrics = f" ({reached} on {chosen.rows_text})" if reached else ""
        yield f"threshold {number(chosen.threshold)}, chosen for {chosen.chosen_for}{metrics}"
    elif chosen.threshold != DEFAULT_THRESHOLD:
        yield f"threshold {number(chosen.threshold)}, set in the config{source}"
    if chosen.temperature != 1:
        yield f"temperature {number(chosen.temperature)}, fitted on {chosen.rows_text}"
    if chosen.coverage is not None and chosen.half_widths:
        widths = ", ".join(f"{name} {text}" for name, text in _widths(chosen, preprocessing))
        if widths:
            fitted_on = chosen.rows_text
            yield f"{100 * chosen.coverage:g}% prediction intervals: {widths}, fitted on {fitted_on}"


def class_weight_text(
    setting: str | Mapping[str, float] | None, classes: Sequence[str], counts: Sequence[float]
) -> str:
    """Format the weight of each class: `no 0.6000, yes 3.000 (balanced)`; empty without weights.

    Args:
        setting: `fit.class_weight`.
        classes: The classes in order.
        counts: Training rows of each.
    """
    if setting is None or not classes or len(classes) != len(counts) or not all(counts):
        return ""
    if isinstance(setting, Mapping):
        weights = [setting.get(name) for name in classes]
        suffix = ""
    else:
        weights = [sum(counts) / (len(classes) * count) for count in counts]
        suffix = f" ({setting})"
    pairs = list(zip(classes, weights, strict=True))
    more = ""
    if len(pairs) > _MAX_CLASSES:
        more = f" and {len(pairs) - _MAX_CLASSES:,} more"
    shown = ", ".join(f"{name} {number(weight)}" for name, weight in pairs[:_MAX_CLASSES])
    return f"{shown}{more}{suffix}"


def _widths(chosen: Decisions, preprocessing: Any) -> Iterator[tuple[str, str]]:
    if chosen.quantiles:
        for name, half in chosen.half_widths.items():
            yield name, chosen.width_text(name, number(half), half)
        return
    match preprocessing:
        case {"target": {"transforms": [_, *_]}}:
            # Imports pydantic and numpy.
            from trainer.report.prediction_intervals import interval_widths

            for name, width in interval_widths(preprocessing, chosen).items():
                yield name, str(width)
        case _:
            for name, half in chosen.half_widths.items():
                yield name, f"± {number(half)}"


def _members(run: RunDirectory) -> list[RunDirectory]:
    if not run.members.is_dir():
        return []
    paths = sorted(path for path in run.members.iterdir() if path.name.isdecimal())
    return [RunDirectory(path) for path in paths]


def _decisions(run: RunDirectory) -> Decisions | None:
    try:
        return read_decisions(run)
    except RunError:
        return None


def _target(preprocessing: Any) -> tuple[str | None, bool]:
    """Return the task and whether the target is scaled or transformed."""
    match preprocessing:
        case {"target": {"task": str(task), "offset": offset, "scale": scale} as target}:
            transforms = target.get("transforms") or []
            is_scaled = any(value != 0 for value in offset) or any(value != 1 for value in scale)
            return task, is_scaled or any(transform is not None for transform in transforms)
        case _:
            return None, False


def _class_weights(run: RunDirectory, preprocessing: Any) -> str:
    match preprocessing:
        case {"target": {"classes": [*classes], "class_counts": [*counts]}}:
            pass
        case _:
            return ""
    try:
        settings = read_settings(run)
    except RunError:
        return ""
    match settings:
        case {"fit": {"class_weight": str() | dict() as setting}}:
            names = [str(name) for name in classes]
            valid_counts = [float(count) for count in counts if isinstance(count, int | float)]
            weights: Any = setting
            return class_weight_text(weights, names, valid_counts)
        case _:
            return ""
