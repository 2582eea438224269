"""A run in one sentence: its headline metric with the interval, compared with the baselines."""

from __future__ import annotations

from trainer.report.text import format_with_interval, number
from trainer.runs.findings import Findings, MetricDifference

_SPLIT_LABELS = {
    "test": "test rows",
    "validation": "validation rows (used to choose the best epoch)",
    "train": "training rows",
}
_METRIC_LABELS = {"auc": "ROC AUC", "r2": "R²", "rmse": "RMSE", "mae": "MAE"}


def summary_sentence(findings: Findings) -> str:
    """Summarize the findings of a run in one sentence."""
    split = findings.reported_split()
    assert split is not None, "a run has training rows"
    result, name = findings.splits[split], findings.compared_metrics[0]
    level = f"{100 * findings.confidence_level:g}%"
    label = _METRIC_LABELS.get(name, name.replace("_", " "))
    rows = f"{result.rows:,} {_SPLIT_LABELS[split]}"
    metric = result.metrics[name]
    value = format_with_interval(metric.value, metric.low, metric.high)
    text = f"On {rows}, {label} is {value} ({level} interval)"
    prior = _compare(
        result.vs_prior.get(name), "a constant prediction", result.prior.get(name), name
    )
    linear = _compare(result.vs_linear.get(name), "a linear model", result.linear.get(name), name)
    comparisons = [part for part in (prior, linear) if part]
    return f"{text}, {' and '.join(comparisons)}." if comparisons else f"{text}."


def verdict(difference: MetricDifference, name: str) -> str:
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


def _compare(
    difference: MetricDifference | None, baseline: str, baseline_value: float | None, name: str
) -> str:
    if difference is None or difference.value is None:
        return ""
    baseline = f"{baseline} ({number(baseline_value)})"
    if not difference.is_significant:
        return f"not significantly different from {baseline}"
    return f"{verdict(difference, name)} than {baseline}"
