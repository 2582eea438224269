"""What a run chose, as text: threshold, temperature, intervals, class weights; and what its metrics are
of: which are calibrated, scaled or macro averages. Light: no pydantic and no numpy unless needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from trainer.errors import RunError
from trainer.report.settings import read_settings
from trainer.report.text import number
from trainer.runs.decisions import DEFAULT_THRESHOLD, Decisions, read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.records import to_json

_AVERAGED = {"precision", "recall", "specificity", "f1", "auc", "average_precision"}
"""Metrics that are macro averages over classes or columns, by `trainer.config.objectives`."""
_OF_PROBABILITIES = {"log_loss", "brier"}
_OF_AIM = {"precision", "recall", "specificity", "f1"}
_SHOWN_CLASSES = 12


@dataclass(frozen=True, slots=True)
class MetricLabels:
    """How metrics are named where they are shown.

    Attributes:
        task: What is predicted; None where that is not known.
        is_scaled: Whether a regression is trained on a scaled target.
        is_calibrated: Whether probabilities are calibrated once the network is trained.
    """

    task: str | None = None
    is_scaled: bool = False
    is_calibrated: bool = False

    def of(self, name: str) -> str:
        """The name with what a reader has to know: `f1 (macro)`, `loss (of the scaled target)`."""
        if name == "loss":
            if self.task == "regression" and self.is_scaled:
                return "loss (of the scaled target)"
            return "loss (before calibration)" if self.is_calibrated else name
        if name in _OF_PROBABILITIES and self.is_calibrated:
            return f"{name} (calibrated)"
        if name in _AVERAGED and self.task in {"multiclass", "multilabel"}:
            return f"{name} (macro)"
        return name


def common_label(labels: Sequence[MetricLabels], name: str) -> str:
    """How a metric of several runs is named: its plain name where their labels differ."""
    found = {one.of(name) for one in labels}
    return found.pop() if len(found) == 1 else name


@dataclass(frozen=True, slots=True)
class DecisionSummary:
    """The choices of a run, as text.

    Attributes:
        labels: Of its metrics.
        decisions: What was chosen on the validation rows, a line each.
        class_weights: The weight of each class; empty where classes weigh alike.
        notes: What could not be chosen, and why.
    """

    labels: MetricLabels
    decisions: tuple[str, ...] = ()
    class_weights: str = ""
    notes: tuple[str, ...] = ()


def read_decision_summary(run: RunDirectory) -> DecisionSummary:
    """What a run chose; what is damaged is left out, as others report it."""
    members = _members(run)
    preprocessing: Any = None
    for one in (run, *members):
        if one.preprocessing.exists():
            with suppress(RunError):
                preprocessing = one.read_preprocessing()
            break
    chosen = _decisions(run)
    of_members = [found for member in members if (found := _decisions(member)) is not None]
    own = [chosen] if chosen is not None else []
    task, is_scaled = _target(preprocessing)
    calibrated = any(one.temperature != 1 for one in (*own, *of_members))
    lines = [] if chosen is None else list(decision_lines(chosen, preprocessing))
    temperatures = [one.temperature for one in of_members if one.temperature != 1]
    if temperatures:
        low, high = number(min(temperatures)), number(max(temperatures))
        between = low if low == high else f"{low} to {high}"
        lines.append(f"temperature {between}, its own for each of {len(of_members)} networks")
    return DecisionSummary(
        MetricLabels(task, is_scaled, calibrated),
        tuple(lines),
        _class_weights(run, preprocessing),
        tuple(dict.fromkeys(one.note for one in own if one.note)),
    )


def decisions_json(run: RunDirectory) -> dict[str, Any] | None:
    """The decisions of a run for `--json`; None where it has none that can be read."""
    found = _decisions(run)
    return None if found is None else dict(to_json(found))


def decision_lines(chosen: Decisions, preprocessing: Any = None) -> Iterator[str]:
    """What was chosen, a line each: the threshold, the temperature, the intervals.

    Args:
        chosen: What was chosen.
        preprocessing: The content of `preprocessing.json`: a target on a curve has other intervals.
    """
    source = "" if chosen.source is None else f", on {chosen.rows}"
    if chosen.chosen_for is not None:
        reached = ", ".join(
            f"{name} {number(value)}" for name, value in chosen.reached.items() if name in _OF_AIM
        )
        there = f" ({reached} on {chosen.rows})" if reached else ""
        yield f"threshold {number(chosen.threshold)}, chosen for {chosen.chosen_for}{there}"
    elif chosen.threshold != DEFAULT_THRESHOLD:
        yield f"threshold {number(chosen.threshold)}, as the config states{source}"
    if chosen.temperature != 1:
        yield f"temperature {number(chosen.temperature)}, fitted on {chosen.rows}"
    if chosen.coverage is not None and chosen.half_widths:
        widths = ", ".join(f"{name} {text}" for name, text in _widths(chosen, preprocessing))
        if widths:
            yield f"{100 * chosen.coverage:g}% prediction intervals: {widths}, fitted on {chosen.rows}"


def class_weight_text(
    stated: str | Mapping[str, float] | None, classes: Sequence[str], counts: Sequence[float]
) -> str:
    """The weight of each class: `no 0.6000, yes 3.000 (balanced)`; empty where none are stated.

    Args:
        stated: `fit.class_weight`.
        classes: In their order.
        counts: Training rows of each.
    """
    if stated is None or not classes or len(classes) != len(counts) or not all(counts):
        return ""
    if isinstance(stated, Mapping):
        weights = [stated.get(name) for name in classes]
        reason = ""
    else:
        weights = [sum(counts) / (len(classes) * count) for count in counts]
        reason = f" ({stated})"
    pairs = list(zip(classes, weights, strict=True))
    more = ""
    if len(pairs) > _SHOWN_CLASSES:
        more = f" and {len(pairs) - _SHOWN_CLASSES:,} more"
    shown = ", ".join(f"{name} {number(weight)}" for name, weight in pairs[:_SHOWN_CLASSES])
    return f"{shown}{more}{reason}"


def _widths(chosen: Decisions, preprocessing: Any) -> Iterator[tuple[str, str]]:
    match preprocessing:
        case {"target": {"curves": [_, *_]}}:
            # pydantic and numpy come along.
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
    """The task, and whether the target is scaled or put on a curve."""
    match preprocessing:
        case {"target": {"task": str(task), "offset": offset, "scale": scale} as target}:
            curves = target.get("curves") or []
            scaled = any(one != 0 for one in offset) or any(one != 1 for one in scale)
            return task, scaled or any(one is not None for one in curves)
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
        case {"fit": {"class_weight": str() | dict() as stated}}:
            names = [str(name) for name in classes]
            known = [float(count) for count in counts if isinstance(count, int | float)]
            weights: Any = stated
            return class_weight_text(weights, names, known)
        case _:
            return ""
