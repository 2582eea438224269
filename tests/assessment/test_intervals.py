from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from trainer.assessment.intervals import effective_sample_size, percentile_interval, wilson_interval


@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_matches_scipy(rows: int, data: st.DataObject, level: float) -> None:
    hits = data.draw(st.integers(0, rows))
    low, high = wilson_interval(np.array([hits / rows]), np.array([float(rows)]), level)
    expected = binomtest(hits, rows).proportion_ci(level, method="wilson")
    assert low[0] == pytest.approx(expected.low, abs=1e-12)
    assert high[0] == pytest.approx(expected.high, abs=1e-12)


def test_wilson_without_rows() -> None:
    low, high = wilson_interval(np.array([0.5]), np.zeros(1), 0.95)
    assert (low.tolist(), high.tolist()) == ([0.0], [1.0])


def test_shares_outside_the_unit_interval_by_rounding() -> None:
    low, high = wilson_interval(np.array([1 + 1e-15, -1e-15]), np.full(2, 10.0), 0.95)
    assert np.isfinite([low, high]).all()
    assert (high[0], low[1]) == (1, 0)


def test_percentiles_ignore_nan() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(400, 3))
    draws[::2, 1] = np.nan
    draws[:, 2] = np.nan
    low, high = percentile_interval(draws, 0.9)
    assert low[0] == pytest.approx(np.quantile(draws[:, 0], 0.05))
    assert high[1] == pytest.approx(np.quantile(draws[1::2, 1], 0.95))
    assert math.isnan(low[2])


def test_effective_sample_size() -> None:
    assert effective_sample_size(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_sample_size(np.array([1.0, 0.0, 0.0])) == 1
    assert effective_sample_size(np.zeros(3)) == 0
