"""Successive halving: after so many epochs the worse trials of those trained together are ended.

After Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization
(2016): at epochs first, first · factor, first · factor², … one in `factor` goes on.

Owns: the decision. Does not own: ending a trial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

Direction = Literal["higher", "lower"]


def is_rung(epoch: int, first: int, factor: int) -> bool:
    """Whether trials are ended after this epoch, counted from 1."""
    while epoch > first and epoch % factor == 0:
        epoch //= factor
    return epoch == first


def losers(objectives: Mapping[int, float], factor: int, direction: Direction) -> tuple[int, ...]:
    """The trials that are ended: all but the best ⌈n / factor⌉ of n.

    Args:
        objectives: Trial number → its objective after the epoch; NaN is the worst.
        factor: One in so many goes on.
        direction: Which way is better. Of equal trials the one with the lower number goes on.
    """
    kept = math.ceil(len(objectives) / factor)
    return tuple(sorted(ranked(objectives, direction)[kept:]))


def ranked(objectives: Mapping[int, float], direction: Direction) -> list[int]:
    """The trials from best to worst; equal ones by number, NaN last."""

    def place(number: int) -> tuple[bool, float, int]:
        value = objectives[number]
        if math.isnan(value):
            return True, 0.0, number
        return False, -value if direction == "higher" else value, number

    return sorted(objectives, key=place)
