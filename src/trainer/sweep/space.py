"""The searched settings as a space: points of the unit cube and of a grid → settings of a trial.

Owns: the mapping, which settings are in force under conditions. Does not own: which points are tried
(`search`), how a space is written (`trainer.config`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, assert_never

from trainer.config.conditions import active_settings, is_active
from trainer.config.domains import Choices, Dimension, Domain, Floats, Integers
from trainer.config.schema import Config
from trainer.config.sweep_values import value_at
from trainer.config.sweeps import conditions_of, dimensions_of


class Space:
    """What a config's `sweep` section searches.

    Attributes:
        dimensions: What is chosen, in the config's order; d of them.
    """

    def __init__(self, config: Config) -> None:
        assert config.sweep is not None
        self.dimensions: tuple[Dimension, ...] = dimensions_of(config.sweep)
        self._conditions = conditions_of(config.sweep)
        others = {condition.key for condition in self._conditions.values()}
        self._base = {other: value_at(config, other) for other in others}

    def at(self, point: Sequence[float]) -> dict[str, Any]:
        """The settings at a point of the unit cube, d numbers of [0, 1)."""
        chosen: dict[str, Any] = {}
        for dimension, share in zip(self.dimensions, point, strict=True):
            chosen.update(dimension.settings(value_in(dimension.domain, share)))
        return self.active(chosen)

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every combination of lists, the last dimension changing fastest; each trial once.

        Combinations that differ in settings that are not in force alone are one trial.
        """
        seen: set[tuple[int | None, ...]] = set()
        lists = [_choices(dimension.domain) for dimension in self.dimensions]
        for indices in itertools.product(*(range(len(values)) for values in lists)):
            chosen: dict[str, Any] = {}
            for dimension, values, index in zip(self.dimensions, lists, indices, strict=True):
                chosen.update(dimension.settings(values[index]))
            active = self.active(chosen)
            trial = tuple(
                index if any(key in active for key in dimension.keys) else None
                for dimension, index in zip(self.dimensions, indices, strict=True)
            )
            if trial not in seen:
                seen.add(trial)
                yield active

    def active(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that are in force, in the order they are set."""
        return active_settings(chosen, self._conditions, self._base)

    def is_wanted(self, dimension: Dimension, chosen: Mapping[str, Any]) -> bool:
        """Whether a dimension matters, given what was chosen of those it depends on."""
        return any(is_active(key, chosen, self._conditions, self._base) for key in dimension.keys)

    def by_dependence(self) -> tuple[Dimension, ...]:
        """The dimensions, each after those that its conditions ask for."""
        return tuple(sorted(self.dimensions, key=self._depth))

    def _depth(self, dimension: Dimension, above: tuple[str, ...] = ()) -> int:
        others = {self._conditions[key].key for key in dimension.keys if key in self._conditions}
        below = [
            self._depth(other, (*above, *dimension.keys))
            for other in self.dimensions
            if others & set(other.keys) and not set(other.keys) & set(above)
        ]
        return 1 + max(below, default=0)


def _choices(domain: Domain) -> tuple[Any, ...]:
    assert isinstance(domain, Choices), domain
    return domain.values


def value_in(domain: Domain, share: float) -> Any:
    """The value of a domain at `share` of [0, 1): equal shares for values and whole numbers.

    In a logarithmic range of whole numbers k has the share of [k - ½, k + ½).
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
