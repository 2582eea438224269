"""The search space: maps points of the unit cube and of a grid to the settings of a trial."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, assert_never

from trainer.config.conditions import active_settings, is_active
from trainer.config.domains import Choices, Dimension, Domain, Floats, Integers
from trainer.config.nodes import parse_key
from trainer.config.schema import Config
from trainer.config.sweep_values import value_at
from trainer.config.sweeps import MAX_GRID, sweep_conditions, sweep_dimensions


class Space:
    """The search space of a config's `sweep` section.

    Attributes:
        dimensions: The d dimensions, in the order of the config.
    """

    def __init__(self, config: Config) -> None:
        assert config.sweep is not None
        self.dimensions: tuple[Dimension, ...] = sweep_dimensions(config.sweep)
        self._conditions = sweep_conditions(config.sweep)
        others = {condition.key for condition in self._conditions.values()}
        self._base = {other: value_at(config, other) for other in others}

    def at(self, point: Sequence[float]) -> dict[str, Any]:
        """Return the settings at a point of the unit cube: d numbers in [0, 1)."""
        chosen: dict[str, Any] = {}
        for dimension, share in zip(self.dimensions, point, strict=True):
            chosen.update(dimension.settings(domain_value(dimension.domain, share)))
        return self.active(chosen)

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yield every trial once, with the last dimension changing fastest.

        Yield nothing if a dimension is continuous or there are more than `MAX_GRID` combinations.
        """
        sizes = [_size(dimension.domain) for dimension in self.dimensions]
        if any(size is None for size in sizes) or math.prod(filter(None, sizes)) > MAX_GRID:
            return
        seen: set[str] = set()
        lists = [_values(dimension.domain) for dimension in self.dimensions]
        for values in itertools.product(*lists):
            chosen: dict[str, Any] = {}
            for dimension, value in zip(self.dimensions, values, strict=True):
                chosen.update(dimension.settings(value))
            active = self.active(chosen)
            name = settings_key(active)
            if name not in seen:
                seen.add(name)
                yield active

    def count(self, limit: int) -> int | None:
        """Return the number of distinct trials; None if it is unknown or at least `limit`."""
        trials = sum(1 for _ in itertools.islice(self.grid(), limit))
        return trials if 0 < trials < limit else None

    def active(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings whose conditions hold, in the order in which they are set."""
        return active_settings(chosen, self._conditions, self._base)

    def is_relevant(self, dimension: Dimension, chosen: Mapping[str, Any]) -> bool:
        """Return whether a dimension has an effect, given the choices that it depends on."""
        return any(is_active(key, chosen, self._conditions, self._base) for key in dimension.keys)

    def in_dependency_order(self) -> tuple[Dimension, ...]:
        """Return the dimensions, each after those that its conditions refer to."""
        return tuple(sorted(self.dimensions, key=self._depth))

    def _depth(self, dimension: Dimension, above: tuple[str, ...] = ()) -> int:
        others = {self._conditions[key].key for key in dimension.keys if key in self._conditions}
        below = [
            self._depth(other, (*above, *dimension.keys))
            for other in self.dimensions
            if others & set(other.keys) and not set(other.keys) & set(above)
        ]
        return 1 + max(below, default=0)


def settings_key(settings: Mapping[str, Any]) -> str:
    """Return a trial's resulting settings as text: trials with equal texts train the same model.

    A setting inside a searched section (`model.layers.0.dense.units` inside `model.layers`) replaces the
    value in that section; 1 and 1.0 are equal.
    """
    merged: dict[tuple[str, ...], Any] = {}
    for key in sorted(settings, key=lambda key: len(parse_key(key) or ())):
        steps, value = parse_key(key) or (key,), deepcopy(settings[key])
        section = next((above for above in merged if steps[: len(above)] == above), None)
        if section is None or not _set_inside(merged[section], steps[len(section) :], value):
            merged[steps] = value
    items = sorted((list(steps), _plain(value)) for steps, value in merged.items())
    return json.dumps(items, sort_keys=True)


def _set_inside(section: Any, steps: Sequence[str], value: Any) -> bool:
    """Set a value inside a section; return False if the section has no such place."""
    *parents, last = steps
    for step in parents:
        match section:
            case dict() if step in section:
                section = section[step]
            case list() if step.isdecimal() and int(step) < len(section):
                section = section[int(step)]
            case _:
                return False
    match section:
        case dict():
            section[last] = value
        case list() if last.isdecimal() and int(last) < len(section):
            section[int(last)] = value
        case _:
            return False
    return True


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case float() if value.is_integer():
            return int(value)
        case str() | int() | float() | None:
            return value
        case _:
            return str(value)


def _size(domain: Domain) -> int | None:
    match domain:
        case Choices(values):
            return len(values)
        case Integers(low, high, _):
            return high - low + 1
        case Floats():
            return None
        case _:
            assert_never(domain)


def _values(domain: Domain) -> Sequence[Any]:
    match domain:
        case Choices(values):
            return values
        case Integers(low, high, _):
            return range(low, high + 1)
        case _:
            raise ValueError(domain)


def domain_value(domain: Domain, share: float) -> Any:
    """Return the value of a domain at `share` in [0, 1); choices and integers get equal shares.

    In a logarithmic range of integers, k gets the fraction of [k - ½, k + ½).
    """
    match domain:
        case Choices(values):
            return values[min(int(share * len(values)), len(values) - 1)]
        case Integers(low, high, log):
            if not log:
                return low + min(int(share * (high - low + 1)), high - low)
            return min(max(round(_between(low - 0.5, high + 0.5, share)), low), high)
        case Floats(low, high, log):
            value = _between(low, high, share) if log else low * (1 - share) + high * share
            return min(max(value, low), high)
        case _:
            assert_never(domain)


def _between(low: float, high: float, share: float) -> float:
    return math.exp(math.log(low) * (1 - share) + math.log(high) * share)
