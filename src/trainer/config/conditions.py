"""Conditions of a searched setting on another one, `optimizer.name == sgd`, and which settings of a
trial are active.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config.nodes import Source, parse_key, to_python
from trainer.config.yaml_reader import parse_yaml
from trainer.errors import Problem


@dataclass(frozen=True, slots=True)
class SweepCondition:
    """The condition that another setting has, or does not have, a value.

    Attributes:
        key: The other setting.
        equal: True for ==, False for !=.
        value: The value it is compared with.
    """

    key: str
    equal: bool
    value: Any

    def holds(self, value: Any) -> bool:
        """Return whether the condition is true if the other setting has `value`."""
        # In Python True == 1, but not in a config.
        same = isinstance(value, bool) == isinstance(self.value, bool) and value == self.value
        return bool(same) == self.equal


_FORM = re.compile(r"\s*(\S+?)\s*(==|!=)\s*(.*?)\s*", re.DOTALL)


def parse_condition(text: str) -> SweepCondition | Problem:
    """Parse a condition; a returned problem has neither location nor key."""
    expected = "a condition such as 'optimizer.name == sgd' or 'optimizer.name != sgd'"
    match = _FORM.fullmatch(text)
    if match is None or not match[3] or parse_key(match[1]) is None:
        single = re.fullmatch(r"\s*([\w.]+)\s*[=:]\s*([^=\s].*)", text)
        fix = f"write {single[1]} == {single[2].strip()}" if single else ""
        return Problem("", expected, f"'{text}'", fix)
    document = parse_yaml(match[3], Source("", Path()))
    if document.problems or document.root is None:
        return Problem("", expected, f"'{text}'", "put the value in quotes")
    return SweepCondition(match[1], match[2] == "==", to_python(document.root))


def is_active(
    key: str,
    chosen: Mapping[str, Any],
    conditions: Mapping[str, SweepCondition],
    base: Mapping[str, Any],
) -> bool:
    """Return whether a searched setting is active in a trial.

    Args:
        key: The setting.
        chosen: Searched setting → its value in the trial.
        conditions: Searched setting → its condition; there are no cycles.
        base: Each setting used in a condition → its value in the base config.
    """
    if key not in conditions:
        return True
    condition = conditions[key]
    other = condition.key
    searched = other in chosen and is_active(other, chosen, conditions, base)
    return condition.holds(chosen[other] if searched else base[other])


def active_settings(
    chosen: Mapping[str, Any], conditions: Mapping[str, SweepCondition], base: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the active settings in the order to set them: a whole section before a part of it."""
    return {
        key: chosen[key]
        for key in sorted(chosen, key=lambda key: len(parse_key(key) or ()))
        if is_active(key, chosen, conditions, base)
    }
