"""Against SciPy's Sobol sequence, which has the same direction numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from trainer.config.sweeps import SOBOL_DIMENSIONS
from trainer.sweep.sobol import sobol_point

POINTS = 4096


def test_the_sequence_is_scipys() -> None:
    ours = [sobol_point(number, [0] * SOBOL_DIMENSIONS) for number in range(POINTS)]
    theirs = qmc.Sobol(SOBOL_DIMENSIONS, scramble=False).random(POINTS)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("number", [2**20 + 12345, 2**29 + 7])
def test_a_point_far_on_is_scipys(number: int) -> None:
    theirs = qmc.Sobol(5, scramble=False).fast_forward(number).random(1)
    np.testing.assert_array_equal([sobol_point(number, [0] * 5)], theirs)


def test_a_shift_keeps_every_box_filled() -> None:
    shifts = [0x9E3779B9, 0x243F6A88]
    points = np.array([sobol_point(number, shifts) for number in range(256)])
    # Of 256 points one lies in each of 16 × 16 boxes, shifted or not: a (0, 8, 2)-net in base 2.
    boxes = {tuple(box) for box in (points * 16).astype(int)}
    assert len(boxes) == 256
    assert points.min() >= 0
    assert points.max() < 1


def test_a_shift_spreads_better_than_chance() -> None:
    points = np.array([sobol_point(number, [12345, 678910, 1112131415]) for number in range(512)])
    random = np.random.default_rng(0).random((512, 3))
    assert qmc.discrepancy(points) < 0.1 * qmc.discrepancy(random)
