"""Comparison with SciPy's Sobol sequence, which has the same direction numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from trainer.config.sweeps import SOBOL_DIMENSIONS
from trainer.sweep.sobol import sobol_point

POINTS = 4096


def test_sequence_equals_scipy() -> None:
    points = [sobol_point(number, [0] * SOBOL_DIMENSIONS) for number in range(POINTS)]
    expected = qmc.Sobol(SOBOL_DIMENSIONS, scramble=False).random(POINTS)
    np.testing.assert_array_equal(points, expected)


@pytest.mark.parametrize("number", [2**20 + 12345, pytest.param(2**29 + 7, marks=pytest.mark.slow)])
def test_large_index_equals_scipy(number: int) -> None:
    expected = qmc.Sobol(5, scramble=False).fast_forward(number).random(1)
    np.testing.assert_array_equal([sobol_point(number, [0] * 5)], expected)


def test_shifted_points_fill_every_box() -> None:
    shifts = [0x9E3779B9, 0x243F6A88]
    points = np.array([sobol_point(number, shifts) for number in range(256)])
    # Each of 16 × 16 boxes has one of 256 points, shifted or not: a (0, 8, 2)-net in base 2.
    boxes = {tuple(box) for box in (points * 16).astype(int)}
    assert len(boxes) == 256
    assert points.min() >= 0
    assert points.max() < 1


def test_shifted_points_have_low_discrepancy() -> None:
    points = np.array([sobol_point(number, [12345, 678910, 1112131415]) for number in range(512)])
    rng = np.random.default_rng(0).random((512, 3))
    assert qmc.discrepancy(points) < 0.1 * qmc.discrepancy(rng)
