"""Conditions of a searched setting on another one: `optimizer.name == sgd`.

Owns: their form, and which settings of a trial are in force. Does not own: whether a condition makes
sense in a config (`sweep_contradictions`).
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
    """Another setting has a value, or has it not.

    Attributes:
        key: The other setting.
        equal: Whether it has to have the value, or not to have it.
        value: The value.
    """

    key: str
    equal: bool
    value: Any

    def holds(self, value: Any) -> bool:
        """Whether it holds where the other setting has `value`."""
        # True is 1 to Python, but not in a config.
        same = isinstance(value, bool) == isinstance(self.value, bool) and value == self.value
        return bool(same) == self.equal


_FORM = re.compile(r"\s*(\S+?)\s*(==|!=)\s*(.*?)\s*", re.DOTALL)


def parse_condition(text: str) -> SweepCondition | Problem:
    """A condition as it is written; the problem has neither place nor key."""
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
    """Whether a searched setting is in force.

    Args:
        key: The setting.
        chosen: Searched setting → its value in the trial.
        conditions: Searched setting → its condition; none leads back to itself.
        base: Every setting that a condition asks for → its value in the base config.
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
    """The settings in force, in the order they are set: a whole section before a part of it."""
    return {
        key: chosen[key]
        for key in sorted(chosen, key=lambda key: len(parse_key(key) or ()))
        if is_active(key, chosen, conditions, base)
    }
