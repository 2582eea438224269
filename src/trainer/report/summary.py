"""A run in one sentence: its headline metric with the interval, compared with the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.report.text import format_with_interval, number
from trainer.runs.findings import Findings, MetricDifference, SplitFindings

_SPLIT_LABELS = {
    "test": "test rows",
    "validation": "validation rows (used to choose the best epoch)",
    "train": "training rows",
}
_METRIC_LABELS = {
    "auc": "ROC AUC", "r2": "R²", "rmse": "RMSE", "mae": "MAE", "bleu": "BLEU", "chrf": "chrF",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ComparedBaseline:
    """A baseline and the comparison of a run with it.

    Attributes:
        name: Its name in the report.
        short: Its name in the terminal.
        description: Its name in a sentence.
        values: Its metrics.
        differences: The metrics of the run minus its metrics.
    """

    name: str
    short: str
    description: str
    values: Mapping[str, float | None]
    differences: Mapping[str, MetricDifference]


def compared_baselines(result: SplitFindings) -> list[ComparedBaseline]:
    """Return the baselines that a run was compared with on a split."""
    baselines = (
        ComparedBaseline(
            "constant prediction",
            "constant",
            "a constant prediction",
            result.prior,
            result.vs_prior,
        ),
        ComparedBaseline(
            result.linear_model,
            "linear",
            "a linear model" if result.linear_model == "linear model" else result.linear_model,
            result.linear,
            result.vs_linear,
        ),
        ComparedBaseline(
            "gradient boosting",
            "boosting",
            "gradient boosting",
            result.boosting,
            result.vs_boosting,
        ),
        ComparedBaseline(
            "copy of the source", "copy", "a copy of the source", result.copy, result.vs_copy
        ),
        ComparedBaseline(
            "nearest training text",
            "nearest",
            "the translation of the most similar training text",
            result.nearest,
            result.vs_nearest,
        ),
    )
    return [baseline for baseline in baselines if baseline.values or baseline.differences]


def summary_sentence(findings: Findings) -> str:
    """Summarize the findings of a run in one sentence."""
    split = findings.reported_split()
    assert split is not None, "a run has training rows"
    result, name = findings.splits[split], findings.compared_metrics[0]
    level = f"{100 * findings.confidence_level:g}%"
    label = _METRIC_LABELS.get(name, name.replace("_", " "))
    rows = f"{result.rows:,} {_SPLIT_LABELS[split]}"
    metric = result.metrics[name]
    if metric.value is None:  # such as ROC AUC of rows of one class
        return f"On {rows}, {label} is undefined."
    value = format_with_interval(metric.value, metric.low, metric.high)
    text = f"On {rows}, {label} is {value}" + ("" if metric.low is None else f" ({level} interval)")
    comparisons = [
        comparison
        for baseline in compared_baselines(result)
        if (comparison := _compare(baseline, name))
    ]
    if not comparisons:
        return f"{text}."
    *first, last = comparisons
    return f"{text}, {', '.join(first)} and {last}." if first else f"{text}, {last}."


def boosting_advice(findings: Findings, *, is_ensemble: bool) -> str:
    """Return what to try if gradient boosting is better than the network; empty otherwise.

    Args:
        findings: The findings of the run.
        is_ensemble: Whether the run has folds.
    """
    split = findings.reported_split()
    assert split is not None, "a run has training rows"
    name = findings.compared_metrics[0]
    difference = findings.splits[split].vs_boosting.get(name)
    if difference is None or describe_difference(difference, name) != "worse":
        return ""
    ensemble = "" if is_ensemble else "an ensemble (fit.folds=5), "
    return f"Try {ensemble}a hyperparameter search (trainer sweep), or gradient boosting itself."


def describe_difference(difference: MetricDifference, name: str) -> str:
    """Return "better", "worse" or "not significant"."""
    if not difference.is_significant or difference.value is None:
        return "not significant"
    # Imports pydantic, 0.2 s.
    from trainer.metrics.evaluator import is_higher_better

    try:
        is_better = (difference.value > 0) == is_higher_better(name)
    except KeyError:
        return ""
    return "better" if is_better else "worse"


def _compare(baseline: ComparedBaseline, name: str) -> str:
    difference = baseline.differences.get(name)
    if difference is None or difference.value is None:
        return ""
    described = f"{baseline.description} ({number(baseline.values.get(name))})"
    if not difference.is_significant:
        return f"not significantly different from {described}"
    return f"{describe_difference(difference, name)} than {described}"
