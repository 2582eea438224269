"""One contradiction between settings, and whether a setting is stated.

Owns: the form that the modules of contradictions share.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.sections import Section
from trainer.errors import Problem


@dataclass(frozen=True)
class Conflict:
    """Settings that contradict each other.

    Attributes:
        problem: What to say of it, with the key to blame.
        keys: Every setting involved; where one of them is not valid, nothing is said.
    """

    problem: Problem
    keys: tuple[str, ...]


def conflict(key: str, expected: str, found: str, fix: str, *others: str) -> Conflict:
    """A contradiction of the setting `key` with `others`."""
    return Conflict(Problem("", expected, found, fix, key), (key, *others))


def differs_from_default(section: Section, name: str) -> bool:
    """Whether a setting differs from its default."""
    default: object = type(section).model_fields[name].default
    return bool(getattr(section, name) != default)
