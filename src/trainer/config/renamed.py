"""Settings and values of earlier versions: the new name of each, or what replaced it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from trainer.config.nodes import KeyPath

T = TypeVar("T")

_Pattern = tuple[str, ...]
"""A key path in which `*` matches any step."""

_SETTINGS: Mapping[_Pattern, str] = {
    ("data", "categorical", "fold_case"): "ignore_case",
    ("data", "columns", "*", "fold_case"): "ignore_case",
    ("optimizer", "accumulate"): "gradient_accumulation_steps",
    ("fit", "on_nonfinite", "limit"): "max_rollbacks",
    ("evaluate", "level"): "confidence_level",
    ("evaluate", "coverage"): "prediction_interval",
    ("evaluate", "threshold", "aim"): "criterion",
    ("evaluate", "threshold", "false_positive"): "false_positive_cost",
    ("evaluate", "threshold", "false_negative"): "false_negative_cost",
    ("evaluate", "threshold", "precision"): "min_precision",
    ("runtime", "compile"): "jit_compile",
}
"""Old path of a setting → its new name in the same section."""

_VALUES: Mapping[_Pattern, tuple[str, str]] = {
    ("data", "categorical", "impute"): ("own_level", "separate_level"),
    ("data", "categorical", "unknown"): ("own_level", "separate_level"),
    ("data", "columns", "*", "impute"): ("own_level", "separate_level"),
    ("data", "columns", "*", "unknown"): ("own_level", "separate_level"),
    ("fit", "on_nonfinite"): ("rewind", "rollback"),
    ("fit", "on_nonfinite", "action"): ("rewind", "rollback"),
}
"""Path of a setting → an old name of one of its values, and the new name."""

_REMOVED: Mapping[_Pattern, str] = {
    (
        "evaluate",
        "scatter",
    ): "remove it: report.html plots predictions against two numeric features; "
    "`trainer report RUN --png FOLDER` writes only the plot",
}
"""Path of a setting that no longer exists → what to do instead."""


def renamed_setting(path: KeyPath) -> str | None:
    """Return the new name of a setting, or None if it was not renamed."""
    return _match(_SETTINGS, path)


def renamed_value(path: KeyPath, value: object) -> str | None:
    """Return the new name of a setting's value, or None if it was not renamed."""
    names = _match(_VALUES, path)
    return names[1] if names is not None and names[0] == value else None


def removal_fix(path: KeyPath) -> str | None:
    """Return the fix for a setting that was removed, or None if it was not."""
    return _match(_REMOVED, path)


def _match(table: Mapping[_Pattern, T], path: KeyPath) -> T | None:
    for pattern, result in table.items():
        if len(pattern) == len(path) and all(
            step in ("*", name) for step, name in zip(pattern, path, strict=True)
        ):
            return result
    return None
