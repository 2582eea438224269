"""Successive halving: stop the worst trials of a pack early.

After Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization
(2016): after epochs first, first · factor, first · factor², … one in `factor` trials continues.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

Direction = Literal["higher", "lower"]


def is_rung(epoch: int, first: int, factor: int) -> bool:
    """Return whether trials are eliminated after this epoch, counted from 1."""
    while epoch > first and epoch % factor == 0:
        epoch //= factor
    return epoch == first


def trials_to_eliminate(
    objectives: Mapping[int, float], factor: int, direction: Direction
) -> tuple[int, ...]:
    """Return the trials to eliminate: all but the best ⌈n / factor⌉ of n.

    Args:
        objectives: Trial number → its objective after the epoch; NaN is worst.
        factor: One in `factor` trials continues.
        direction: Which way is better. Ties go to the lower trial number.
    """
    survivors = math.ceil(len(objectives) / factor)
    return tuple(sorted(ranked(objectives, direction)[survivors:]))


def ranked(objectives: Mapping[int, float], direction: Direction) -> list[int]:
    """Return the trials from best to worst; ties by number, NaN last."""

    def sort_key(number: int) -> tuple[bool, float, int]:
        value = objectives[number]
        if math.isnan(value):
            return True, 0.0, number
        return False, -value if direction == "higher" else value, number

    return sorted(objectives, key=sort_key)
