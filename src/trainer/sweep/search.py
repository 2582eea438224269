"""Which settings are tried next: asked for in batches, told what became of them.

What is suggested is a function of the seed, of what was told and of the sizes asked for. For all but
tpe trial n is a function of the seed and n alone. No trial is suggested twice.

Owns: grid, random and Sobol searches. Does not own: tpe (`tpe`), when is asked (`study`).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, assert_never

from trainer.config.sweeps import SearchName
from trainer.sweep.halving import Direction
from trainer.sweep.sobol import BITS, sobol_point
from trainer.sweep.space import Space, identity
from trainer.sweep.trials import TrialEnded

Settings = Mapping[str, Any]

_REPEATS = 10_000
"""After this many repeats in a row the trials that are left are listed, or taken to be none."""


class Search(Protocol):
    """Suggests settings; trials are numbered from 0 in the order they are asked for."""

    def ask(self, count: int) -> Sequence[Settings]:
        """The settings of the next trials; fewer than `count` where the search is at its end."""

    def tell(self, ended: Sequence[TrialEnded]) -> None:
        """What became of all trials of the last batch, by number."""


def new_search(
    name: SearchName, space: Space, seed: int, direction: Direction, *, is_distinct: bool = True
) -> Search:
    """A search at its beginning.

    Args:
        name: Its kind.
        space: What is searched.
        seed: What it draws with.
        direction: Which way the objective is better.
        is_distinct: Whether no trial is suggested twice; false for sweeps begun by a former version.

    Raises:
        ConfigError: It needs a package that is not installed.
    """
    match name:
        case "grid":
            return _Listed(space.grid())
        case "random":
            trials = random_trials(space, seed)
            return _Listed(distinct(trials, space, set()) if is_distinct else trials)
        case "sobol":
            shifts = [_random_bits(seed, "shift", each) >> (64 - BITS) for each in _axes(space)]
            trials = _counted(lambda number: sobol_point(number, shifts), space)
            return _Listed(distinct(trials, space, set()) if is_distinct else trials)
        case "tpe":
            from trainer.sweep.tpe import TpeSearch

            return TpeSearch(space, seed, direction, is_distinct=is_distinct)
        case _:
            assert_never(name)


class _Listed:
    """Trials that do not depend on what became of others."""

    def __init__(self, trials: Iterator[Settings]) -> None:
        self._trials = trials

    def ask(self, count: int) -> list[Settings]:
        return list(itertools.islice(self._trials, count))

    def tell(self, ended: Sequence[TrialEnded]) -> None:
        """Nothing follows from it."""


def random_trials(space: Space, seed: int) -> Iterator[Settings]:
    """Trials drawn independently."""
    return _counted(lambda number: _random_point(space, seed, number), space)


def distinct(trials: Iterable[Settings], space: Space, seen: set[str]) -> Iterator[Settings]:
    """The trials without repeats; when only repeats come, those of the space that are left.

    Args:
        trials: The trials, without end.
        space: What is searched.
        seen: The identities of trials that were suggested, to which these are added.
    """
    repeats = 0
    for settings in trials:
        name = identity(settings)
        if name not in seen:
            repeats = 0
            seen.add(name)
            yield settings
        elif (repeats := repeats + 1) == _REPEATS:
            break
    for settings in space.grid():
        name = identity(settings)
        if name not in seen:
            seen.add(name)
            yield settings


def _counted(point: Callable[[int], Sequence[float]], space: Space) -> Iterator[Settings]:
    return (space.at(point(number)) for number in itertools.count())


def _axes(space: Space) -> range:
    return range(len(space.dimensions))


def _random_point(space: Space, seed: int, number: int) -> list[float]:
    return [(_random_bits(seed, number, each) >> 11) / 2**53 for each in _axes(space)]


def _random_bits(seed: int, *counters: object) -> int:
    """64 bits, a function of seed and counters that no version of a library changes."""
    text = "/".join(str(each) for each in (seed, *counters))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
