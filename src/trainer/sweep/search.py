"""Search algorithms with the ask-and-tell interface of Optuna: grid, random and Sobol search.

Suggestions are deterministic: a function of the seed, the batch sizes and the results. Except for tpe,
trial n is a function of the seed and n alone. No trial is suggested twice.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, assert_never

from trainer.config.sweeps import SearchName
from trainer.sweep.halving import Direction
from trainer.sweep.sobol import BITS, sobol_point
from trainer.sweep.space import Space, settings_key
from trainer.sweep.trials import TrialEnded

Settings = Mapping[str, Any]

_REPEATS = 10_000
"""Number of repeats in a row after which the remaining trials are enumerated."""


class Search(Protocol):
    """A search algorithm; trials are numbered from 0 in the order of the suggestions."""

    def ask(self, count: int) -> Sequence[Settings]:
        """Return the settings of the next trials; fewer than `count` at the end of the search."""

    def tell(self, ended: Sequence[TrialEnded]) -> None:
        """Report the results of all trials of the last batch, by number."""


def new_search(
    name: SearchName, space: Space, seed: int, direction: Direction, *, is_distinct: bool = True
) -> Search:
    """Create a search.

    Args:
        name: The algorithm.
        space: The search space.
        seed: Seed of all random draws.
        direction: Whether a higher or lower objective is better.
        is_distinct: Whether no trial is suggested twice; false for sweeps started by version 0.1.0.

    Raises:
        ConfigError: The algorithm needs a package that is not installed.
    """
    match name:
        case "grid":
            return _FixedSearch(space.grid())
        case "random":
            trials = random_trials(space, seed)
            return _FixedSearch(distinct(trials, space, set()) if is_distinct else trials)
        case "sobol":
            shifts = [_random_bits(seed, "shift", axis) >> (64 - BITS) for axis in _axes(space)]
            trials = _trials_at(lambda number: sobol_point(number, shifts), space)
            return _FixedSearch(distinct(trials, space, set()) if is_distinct else trials)
        case "tpe":
            from trainer.sweep.tpe import TpeSearch

            return TpeSearch(space, seed, direction, is_distinct=is_distinct)
        case _:
            assert_never(name)


class _FixedSearch:
    """A search whose trials do not depend on results."""

    def __init__(self, trials: Iterator[Settings]) -> None:
        self._trials = trials

    def ask(self, count: int) -> list[Settings]:
        return list(itertools.islice(self._trials, count))

    def tell(self, ended: Sequence[TrialEnded]) -> None:
        """Ignore the results."""


def random_trials(space: Space, seed: int) -> Iterator[Settings]:
    """Yield trials drawn independently."""
    return _trials_at(lambda number: _random_point(space, seed, number), space)


def distinct(trials: Iterable[Settings], space: Space, seen: set[str]) -> Iterator[Settings]:
    """Yield trials without repeats; after many repeats in a row, yield the rest of the space.

    Args:
        trials: An endless iterator of trials.
        space: The search space.
        seen: Identities of trials suggested so far; updated.
    """
    repeats = 0
    for settings in trials:
        name = settings_key(settings)
        if name not in seen:
            repeats = 0
            seen.add(name)
            yield settings
        elif (repeats := repeats + 1) == _REPEATS:
            break
    for settings in space.grid():
        name = settings_key(settings)
        if name not in seen:
            seen.add(name)
            yield settings


def _trials_at(point: Callable[[int], Sequence[float]], space: Space) -> Iterator[Settings]:
    return (space.at(point(number)) for number in itertools.count())


def _axes(space: Space) -> range:
    return range(len(space.dimensions))


def _random_point(space: Space, seed: int, number: int) -> list[float]:
    return [(_random_bits(seed, number, axis) >> 11) / 2**53 for axis in _axes(space)]


def _random_bits(seed: int, *counters: object) -> int:
    """Return 64 bits as a function of seed and counters, independent of library versions."""
    text = "/".join(map(str, (seed, *counters)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
