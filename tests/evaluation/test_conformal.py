from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.conformal import empirical_coverage, fit_conformal


@given(st.integers(1, 60), st.sampled_from([0.5, 0.8, 0.9, 0.95]), st.integers(0, 99))
def test_width_is_the_corrected_quantile(rows: int, level: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    y, p = random.normal(size=(2, rows, 2))
    found = fit_conformal(y, p, level)
    for k in range(2):
        residuals = np.sort(np.abs(y - p)[:, k])
        share = level * (rows + 1) / rows
        if share > 1:
            assert found.half_width[k] == np.inf
        else:
            # Up to rounding of the share.
            expected = np.quantile(residuals, share - 1e-9, method="inverted_cdf")
            assert found.half_width[k] == expected


def test_intervals_are_about_the_predictions() -> None:
    y, p = np.arange(19.0)[:, None], np.zeros((19, 1))
    found = fit_conformal(y, p, 0.9)
    assert found.half_width.tolist() == [17.0]
    low, high = found.intervals(np.array([[1.0]]))
    assert (low.tolist(), high.tolist()) == ([[-16.0]], [[18.0]])
    (covered,) = empirical_coverage(found, y, p)
    assert covered.value == pytest.approx(18 / 19)
    assert covered.low < covered.value < covered.high


def test_rounding_of_the_place() -> None:
    # 100 · 0.55 is 55.00000000000001 in floats.
    y = np.arange(1.0, 100)[:, None]
    assert fit_conformal(y, np.zeros((99, 1)), 0.55).half_width.tolist() == [55.0]


def test_no_rows() -> None:
    nothing = np.zeros((0, 2))
    found = fit_conformal(nothing, nothing)
    assert found.half_width.tolist() == [np.inf, np.inf]
    assert [(each.low, each.high) for each in empirical_coverage(found, nothing, nothing)] == [
        (0, 1)
    ] * 2


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_promise_is_kept(level: float) -> None:
    # Whatever the residuals: of heavy tails, and with a bias.
    random = np.random.default_rng(0)
    shares, honest = [], 0
    truth = random.standard_t(3, (1_000, 500)) + 0.5
    for line in truth:
        found = fit_conformal(line[:99, None], np.zeros((99, 1)), level)
        (covered,) = empirical_coverage(found, line[99:, None], np.zeros((401, 1)))
        shares.append(covered.value)
        # 99 rows: exactly the promise on average.
        honest += covered.low <= np.mean(np.abs(truth) <= found.half_width) <= covered.high
    assert np.mean(shares) == pytest.approx(level, abs=0.004)
    assert 930 <= honest <= 970
