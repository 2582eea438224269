"""Changed settings of a resumed run: values that are added, differences, and which changes are
allowed.

Handles `fit.epochs=+20`, compares two resolved configs, and determines which differences keep the state
of training valid. Does not import TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.errors import ConfigError, Problem, did_you_mean

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?")
_EXTENDED = ("fit.epochs", "fit.steps", "fit.max_seconds", "fit.early_stopping.patience")
EXTENDING_SETTINGS = frozenset(_EXTENDED)
"""Settings that let a run train longer."""
_HARMLESS = (*_EXTENDED, "fit.checkpoint.every", "fit.checkpoint.keep", "evaluate", "name", "track")


def resolve_additions(overrides: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """Return the overrides with additions replaced by sums.

    Args:
        overrides: As typed; `fit.epochs=+20` adds to the current value.
        settings: The resolved settings of the run so far.

    Raises:
        ConfigError: The setting does not extend a run, or was not set.
    """
    return [_with_sum(text, settings) for text in overrides]


def _with_sum(text: str, settings: Mapping[str, Any]) -> str:
    key, _, value = text.partition("=")
    if not value.startswith("+"):
        return text
    where, addend = f"override '{text}'", value.removeprefix("+")
    if key not in _EXTENDED:
        fix = did_you_mean(key, _EXTENDED, f"write {key}={addend}")
        raise ConfigError(Problem(where, f"'+' with {', '.join(_EXTENDED)}", key, fix))
    if not _NUMBER.fullmatch(addend):
        fix = "write, for example, fit.epochs=+20"
        raise ConfigError(Problem(where, "a number after the '+'", f"'{addend}'", fix))
    current: Any = settings
    for part in key.split("."):
        current = current.get(part) if isinstance(current, Mapping) else None
    if current is None and key == "fit.epochs" and settings["fit"]["steps"] is None:
        from trainer.config.resolve import DEFAULT_EPOCHS

        current = DEFAULT_EPOCHS
    if current is None:
        fix = f"write {key}={addend} without the '+'"
        raise ConfigError(Problem(where, f"a run with {key}", "a run without it", fix))
    total = float(current) + float(addend)
    return f"{key}={total:.0f}" if total.is_integer() else f"{key}={total}"


def changed_settings(was: Any, now: Any, key: str = "") -> dict[str, str]:
    """Return setting → "was → now" for each difference of two resolved configs."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        changes: dict[str, str] = {}
        for name in dict.fromkeys((*was, *now)):
            path = f"{key}.{name}" if key else str(name)
            changes |= changed_settings(was.get(name), now.get(name), path)
        return changes
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        pairs = [
            changed_settings(a, b, f"{key}.{n}")
            for n, (a, b) in enumerate(zip(was, now, strict=True))
        ]
        return {name: text for pair in pairs for name, text in pair.items()}
    return {} if was == now else {key: f"{_text(was)} → {_text(now)}"}


def keeps_training_state(key: str) -> bool:
    """Return whether a change of this setting keeps the training so far valid."""
    return any(key == name or key.startswith(f"{name}.") for name in _HARMLESS)


def _text(value: Any) -> str:
    return "not set" if value is None else str(value)
