"""Which settings are tried next: asked for in batches, told what became of them.

What is suggested is a function of the seed, of what was told and of the sizes asked for. For all but
tpe trial n is a function of the seed and n alone.

Owns: grid, random and Sobol searches. Does not own: tpe (`tpe`), when is asked (`study`).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, assert_never

from trainer.config.sweeps import SearchName
from trainer.sweep.halving import Direction
from trainer.sweep.sobol import BITS, sobol_point
from trainer.sweep.space import Space
from trainer.sweep.trials import TrialEnded

Settings = Mapping[str, Any]


class Search(Protocol):
    """Suggests settings; trials are numbered from 0 in the order they are asked for."""

    def ask(self, count: int) -> Sequence[Settings]:
        """The settings of the next trials; fewer than `count` where the search is at its end."""

    def tell(self, ended: Sequence[TrialEnded]) -> None:
        """What became of all trials of the last batch, by number."""


def new_search(name: SearchName, space: Space, seed: int, direction: Direction) -> Search:
    """A search at its beginning.

    Raises:
        ConfigError: It needs a package that is not installed.
    """
    match name:
        case "grid":
            return _Listed(space.grid())
        case "random":
            return _Listed(_counted(lambda number: _random_point(space, seed, number), space))
        case "sobol":
            shifts = [_random_bits(seed, "shift", each) >> (64 - BITS) for each in _axes(space)]
            return _Listed(_counted(lambda number: sobol_point(number, shifts), space))
        case "tpe":
            from trainer.sweep.tpe import TpeSearch

            return TpeSearch(space, seed, direction)
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
