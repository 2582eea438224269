"""The `Conflict` class, shared by the modules that find conflicts between settings."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.sections import Section
from trainer.errors import Problem


@dataclass(frozen=True)
class Conflict:
    """Settings that conflict with each other.

    Attributes:
        problem: The message and the key that it is reported for.
        keys: All settings involved; the conflict is not reported if one of them is invalid.
    """

    problem: Problem
    keys: tuple[str, ...]


def conflict(key: str, expected: str, found: str, fix: str, *others: str) -> Conflict:
    """Return a conflict of the setting `key` with `others`."""
    return Conflict(Problem("", expected, found, fix, key), (key, *others))


def differs_from_default(section: Section, name: str) -> bool:
    """Return whether a setting differs from its default."""
    default: object = type(section).model_fields[name].default
    return bool(getattr(section, name) != default)
