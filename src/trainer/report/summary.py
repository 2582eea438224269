"""A run in one sentence: its main metric with the interval, compared with the baselines."""

from __future__ import annotations

from trainer.report.findings import Difference, Findings, verdict
from trainer.report.text import format_with_interval, number

_SPLIT_WORDS = {
    "test": "test rows",
    "validation": "validation rows (used to choose the best epoch)",
    "train": "training rows (seen in training)",
}
_MEASURE_WORDS = {"auc": "ROC AUC", "r2": "R²", "rmse": "RMSE", "mae": "MAE"}


def summary_sentence(findings: Findings) -> str:
    """The sentence for the findings of a run, without a full stop inside it but at its end."""
    split = findings.last()
    assert split is not None, "a run has training rows"
    of, name = findings.splits[split], findings.compared[0]
    level = f"{100 * findings.level:g}%"
    words = _MEASURE_WORDS.get(name, name.replace("_", " "))
    rows = f"{of.rows:,} {_SPLIT_WORDS[split]}"
    found = of.measures[name]
    value = format_with_interval(found.value, found.low, found.high)
    text = f"On {rows}, {words} is {value} ({level} interval)"
    prior = _against(of.over_prior.get(name), "the prior", of.prior.get(name), name)
    linear = _against(of.over_linear.get(name), "a linear model", of.linear.get(name), name)
    compared = [part for part in (prior, linear) if part]
    return f"{text}: {' and '.join(compared)}." if compared else f"{text}."


def _against(
    difference: Difference | None, other: str, other_value: float | None, name: str
) -> str:
    if difference is None or difference.value is None:
        return ""
    other = f"{other} ({number(other_value)})"
    if difference.is_noise:
        return f"no clear difference from {other}"
    return f"{verdict(difference, name)} than {other}"
