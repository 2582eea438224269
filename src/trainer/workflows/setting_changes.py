"""Settings of a run that goes on: what is added to them, how they differ, which may.

Owns: `fit.epochs=+20`, the differences of two resolved configs, which of them leave what was trained as
it is. No TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.errors import ConfigError, Problem, did_you_mean

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?")
_EXTENDED = ("fit.epochs", "fit.steps", "fit.max_seconds", "fit.early_stopping.patience")
EXTENDING_SETTINGS = frozenset(_EXTENDED)
"""What lets a run train on."""
_HARMLESS = (*_EXTENDED, "fit.checkpoint.every", "fit.checkpoint.keep", "evaluate", "name", "track")


def resolve_additions(overrides: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """The overrides, with what is to be added to a setting added.

    Args:
        overrides: As typed; `fit.epochs=+20` adds.
        settings: The resolved settings of the run so far.

    Raises:
        ConfigError: Something is added to a setting that is none of those that extend a run, or that
            was not set.
    """
    return [_added(text, settings) for text in overrides]


def _added(text: str, settings: Mapping[str, Any]) -> str:
    key, _, value = text.partition("=")
    if not value.startswith("+"):
        return text
    where, more = f"override '{text}'", value.removeprefix("+")
    if key not in _EXTENDED:
        fix = did_you_mean(key, _EXTENDED, f"write {key}={more}")
        raise ConfigError(Problem(where, f"'+' with {', '.join(_EXTENDED)}", key, fix))
    if not _NUMBER.fullmatch(more):
        fix = "write for example fit.epochs=+20"
        raise ConfigError(Problem(where, "a number after the '+'", f"'{more}'", fix))
    former: Any = settings
    for step in key.split("."):
        former = former.get(step) if isinstance(former, Mapping) else None
    if former is None and key == "fit.epochs" and settings["fit"]["steps"] is None:
        from trainer.config.resolve import DEFAULT_EPOCHS

        former = DEFAULT_EPOCHS
    if former is None:
        fix = f"write {key}={more} without the '+'"
        raise ConfigError(Problem(where, f"a run with {key}", "one in which it is not set", fix))
    total = float(former) + float(more)
    return f"{key}={total:.0f}" if total.is_integer() else f"{key}={total}"


def changed_settings(was: Any, now: Any, key: str = "") -> dict[str, str]:
    """Setting → "was → now", for each in which two resolved configs differ."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        found: dict[str, str] = {}
        for name in dict.fromkeys((*was, *now)):
            below = f"{key}.{name}" if key else str(name)
            found |= changed_settings(was.get(name), now.get(name), below)
        return found
    if isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        pairs = [
            changed_settings(a, b, f"{key}.{n}")
            for n, (a, b) in enumerate(zip(was, now, strict=True))
        ]
        return {name: text for pair in pairs for name, text in pair.items()}
    return {} if was == now else {key: f"{_text(was)} → {_text(now)}"}


def keeps_training_state(key: str) -> bool:
    """Whether a change of this setting leaves what was trained so far as it is."""
    return any(key == name or key.startswith(f"{name}.") for name in _HARMLESS)


def _text(value: Any) -> str:
    return "not set" if value is None else str(value)
