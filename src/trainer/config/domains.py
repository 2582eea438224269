"""Domains of searched settings: lists of values and ranges, and their syntax.

[32, 64, 128]   a,b,c   log(1e-4, 1e-1)   uniform(0, 0.5)   int(16, 256)   int(16, 256, log)
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
    """A list of values; for settings that change together, a list of tuples of values."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Floats:
    """A number from `low` to `high`, uniform or, with `log`, log-uniform."""

    low: float
    high: float
    log: bool


@dataclass(frozen=True, slots=True)
class Integers:
    """An integer from `low` to `high`, both inclusive."""

    low: int
    high: int
    log: bool


Domain = Choices | Floats | Integers


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension of the search space: one setting, or several that change together.

    Several settings have a domain of choices with one value for each setting.
    """

    keys: tuple[str, ...]
    domain: Domain

    def settings(self, value: Any) -> dict[str, Any]:
        """Return a value of the domain, by setting."""
        if len(self.keys) == 1:
            return {self.keys[0]: value}
        return dict(zip(self.keys, value, strict=True))


RANGES: Mapping[str, str] = {
    "log": "log(1e-4, 1e-1)",
    "uniform": "uniform(0, 0.5)",
    "int": "int(16, 256)",
}
"""Kind of range → an example."""

_EXPECTED = f"a list, values such as a,b,c, or a range such as {', '.join(RANGES.values())}"
_CALL = re.compile(r"\s*([A-Za-z_]\w*)\(")


def is_range(text: str) -> bool:
    """Return whether a string looks like a range: a name and an opening bracket."""
    return _CALL.match(text) is not None


def parse_domain(value: Sequence[Any] | str) -> Domain | Problem:
    """Parse a value of `sweep.space`; a returned problem has neither location nor key."""
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
    """Split at commas outside quotes and brackets: `a,[b,c]` → `a`, `[b,c]`."""
    parts: list[str] = []
    start, depth, quote = 0, 0, ""
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and not text[start:index].strip():
            quote = character  # otherwise it is an apostrophe
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
        fix = did_you_mean(name, list(RANGES), f"available: {', '.join(RANGES)}")
        return Problem("", _EXPECTED, found, fix)
    if not text.endswith(")"):
        fix = f'quote ranges inside braces: "{RANGES[name]}"'
        return Problem("", f"a range such as {RANGES[name]}", found, fix)
    arguments = [argument.strip() for argument in text[match.end() : -1].split(",")]
    log = name == "log" or (name == "int" and arguments[2:] == ["log"])
    numbers = arguments[:2] if name == "int" and log else arguments
    bounds = [_number(number) for number in numbers]
    if len(bounds) != 2 or None in bounds:
        other = f" or {RANGES[name][:-1]}, log)" if name == "int" else ""
        return Problem("", f"two numbers, as in {RANGES[name]}{other}", found)
    low, high = bounds
    assert low is not None
    assert high is not None
    end = ", log)" if name == "int" and log else ")"
    if low > high:
        fix = f"write {name}({arguments[1]}, {arguments[0]}{end}"
        return Problem("", "a range with the lower bound first", found, fix)
    if low == high:
        return Problem(
            "", "a range with two different bounds", found, f"write [{arguments[0]}] for one value"
        )
    if log and low <= 0:
        fix = "start above 0" if name == "int" else "start above 0, or write uniform(…)"
        return Problem("", "a range above 0 on a log scale", found, fix)
    if name != "int":
        return Floats(float(low), float(high), log)
    if isinstance(low, float) or isinstance(high, float):
        kind = "log" if log else "uniform"
        fix = f"write {kind}({arguments[0]}, {arguments[1]}) for numbers that are not integers"
        return Problem("", "integers as bounds of int", found, fix)
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
