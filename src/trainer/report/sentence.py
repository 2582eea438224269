"""A run in one sentence: its main metric with the interval, compared with the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.report.text import number

_SPLIT_WORDS = {
    "test": "test rows",
    "validation": "validation rows (used to choose the best epoch)",
    "train": "training rows (seen in training)",
}
_MEASURE_WORDS = {"auc": "ROC AUC", "r2": "R²", "rmse": "RMSE", "mae": "MAE"}
_LOWER = {"rmse", "mae", "log_loss", "brier"}


def summary_sentence(findings: Mapping[str, Any]) -> str:
    """The sentence for the findings of a run, without a full stop inside it but at its end."""
    splits = findings["splits"]
    split = next(name for name in ("test", "validation", "train") if name in splits)
    of, name = splits[split], findings["compared"][0]
    level = f"{100 * findings['level']:g}%"
    measured = of["measures"][name]
    words = _MEASURE_WORDS.get(name, name.replace("_", " "))
    rows = f"{of['rows']:,} {_SPLIT_WORDS[split]}"
    text = f"On {rows}, {words} is {_interval(measured)} ({level} interval)"
    if "over_linear" not in of:
        return f"{text}."
    parts = [
        _against(
            of[f"over_{other}"].get(name), f"{other_words} ({number(of[other].get(name))})", name
        )
        for other, other_words in (("prior", "the prior"), ("linear", "a linear model"))
    ]
    told = [part for part in parts if part]
    return f"{text}: {' and '.join(told)}." if told else f"{text}."


def _interval(one: Mapping[str, Any]) -> str:
    if one["low"] is None or one["high"] is None or one["low"] != one["low"]:
        return number(one["value"])
    return f"{number(one['value'])} [{number(one['low'])}, {number(one['high'])}]"


def _against(difference: Mapping[str, Any] | None, other: str, name: str) -> str:
    if difference is None or difference["value"] is None:
        return ""
    if difference["is_noise"]:
        return f"no clear difference from {other}"
    is_better = (difference["value"] < 0) == (name in _LOWER)
    return f"{'better' if is_better else 'worse'} than {other}"
