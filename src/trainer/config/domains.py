"""What a searched setting can be: a list of values or a range, and how the two are written.

    [32, 64, 128]   a,b,c   log(1e-4, 1e-1)   uniform(0, 0.5)   int(16, 256)   int(16, 256, log)

Owns: the forms and the words for broken ones. Does not own: whether a value fits its setting
(`sweep_contradictions`), which value a trial gets (`trainer.sweep`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config.nodes import Source, to_python
from trainer.config.value_fixes import truncate
from trainer.config.yaml_reader import parse_scalar, parse_yaml
from trainer.errors import Problem, did_you_mean


@dataclass(frozen=True, slots=True)
class Choices:
    """One of some values; of settings that change together, one of some tuples of values."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Floats:
    """A number from `low` to `high`; with `log` each factor as likely as the next."""

    low: float
    high: float
    log: bool


@dataclass(frozen=True, slots=True)
class Integers:
    """A whole number from `low` to `high`, both ends included."""

    low: int
    high: int
    log: bool


Domain = Choices | Floats | Integers


@dataclass(frozen=True, slots=True)
class Dimension:
    """What is chosen at once: one setting, or several that change together.

    Attributes:
        keys: The settings.
        domain: What they can be; of several, choices of as many values.
    """

    keys: tuple[str, ...]
    domain: Domain

    def settings(self, value: Any) -> dict[str, Any]:
        """A value of the domain, by setting."""
        if len(self.keys) == 1:
            return {self.keys[0]: value}
        return dict(zip(self.keys, value, strict=True))


RANGES: Mapping[str, str] = {
    "log": "log(1e-4, 1e-1)",
    "uniform": "uniform(0, 0.5)",
    "int": "int(16, 256)",
}
"""Each kind of range, and how one is written."""

_EXPECTED = f"a list, values such as a,b,c, or a range such as {', '.join(RANGES.values())}"
_CALL = re.compile(r"\s*([A-Za-z_]\w*)\(")


def is_range(text: str) -> bool:
    """Whether a text is meant as a range: a word, then a bracket."""
    return _CALL.match(text) is not None


def parse_domain(value: Sequence[Any] | str) -> Domain | Problem:
    """What stands at a key of `sweep.space`; the problem has neither place nor key."""
    if not isinstance(value, str):
        return Choices(tuple(value))
    if is_range(value):
        return _range(value.strip())
    parts = split_values(value)
    if len(parts) < 2 or not all(parts):
        values = ", ".join(part for part in parts if part)
        fix = f"write [{values}]" if values else ""
        return Problem("", _EXPECTED, f"'{truncate(value)}'", fix)
    document = parse_yaml(f"[{', '.join(parts)}]", Source("", Path()))
    if document.root is None or document.root.items is None or document.problems:
        return Problem("", _EXPECTED, f"'{truncate(value)}'", "write the values as a list")
    return Choices(tuple(to_python(item) for item in document.root.items))


def split_values(text: str) -> list[str]:
    """The parts between commas that stand in no quotes and no brackets: `a,[b,c]` → `a`, `[b,c]`."""
    parts: list[str] = []
    start, depth, quote = 0, 0, ""
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and not text[start:index].strip():
            quote = character  # elsewhere it is an apostrophe
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    return [*parts, text[start:].strip()]


def _range(text: str) -> Domain | Problem:
    match = _CALL.match(text)
    assert match is not None
    name = match[1]
    found = f"'{truncate(text)}'"
    if name not in RANGES:
        fix = did_you_mean(name, list(RANGES), f"known are {', '.join(RANGES)}")
        return Problem("", _EXPECTED, found, fix)
    if not text.endswith(")"):
        fix = f'between braces a range stands in quotes: "{RANGES[name]}"'
        return Problem("", f"a range such as {RANGES[name]}", found, fix)
    words = [word.strip() for word in text[match.end() : -1].split(",")]
    log = name == "log" or (name == "int" and words[2:] == ["log"])
    ends = [_number(word) for word in (words[:2] if name == "int" and log else words)]
    if len(ends) != 2 or None in ends:
        other = f" or {RANGES[name][:-1]}, log)" if name == "int" else ""
        return Problem("", f"two numbers, as in {RANGES[name]}{other}", found)
    low, high = ends
    assert low is not None
    assert high is not None
    end = ", log)" if name == "int" and log else ")"
    if low > high:
        fix = f"write {name}({words[1]}, {words[0]}{end}"
        return Problem("", "a range with its lower end first", found, fix)
    if low == high:
        return Problem("", "a range with two ends", found, f"write [{words[0]}] for one value")
    if log and low <= 0:
        fix = "begin above 0" if name == "int" else "begin above 0, or write uniform(…)"
        return Problem("", "a range above 0, as it is in factors", found, fix)
    if name != "int":
        return Floats(float(low), float(high), log)
    if isinstance(low, float) or isinstance(high, float):
        fix = f"write {'log' if log else 'uniform'}({words[0]}, {words[1]}) for numbers between"
        return Problem("", "whole numbers as the ends of int", found, fix)
    return Integers(low, high, log)


def _number(word: str) -> int | float | None:
    try:
        value = parse_scalar(word)
    except ValueError:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None
