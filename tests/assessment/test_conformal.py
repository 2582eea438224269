from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.assessment.conformal import empirical_coverage, fit_conformal


@given(st.integers(1, 60), st.sampled_from([0.5, 0.8, 0.9, 0.95]), st.integers(0, 99))
def test_half_width_is_the_corrected_quantile(rows: int, level: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, p = rng.normal(size=(2, rows, 2))
    result = fit_conformal(y, p, level)
    for k in range(2):
        residuals = np.sort(np.abs(y - p)[:, k])
        share = level * (rows + 1) / rows
        if share > 1:
            assert result.half_width[k] == np.inf
        else:
            # Up to rounding of the share.
            expected = np.quantile(residuals, share - 1e-9, method="inverted_cdf")
            assert result.half_width[k] == expected


def test_intervals_are_centered_on_predictions() -> None:
    y, p = np.arange(19.0)[:, None], np.zeros((19, 1))
    result = fit_conformal(y, p, 0.9)
    assert result.half_width.tolist() == [17.0]
    low, high = result.intervals(np.array([[1.0]]))
    assert (low.tolist(), high.tolist()) == ([[-16.0]], [[18.0]])
    (coverage,) = empirical_coverage(result, y, p)
    assert coverage.value == pytest.approx(18 / 19)
    assert coverage.low < coverage.value < coverage.high


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_quantiles_are_moved_by_the_corrected_quantile_of_distances(level: float) -> None:
    rng = np.random.default_rng(0)
    y, lower = rng.normal(size=(2, 99, 2))
    upper = lower + rng.exponential(3, size=lower.shape)
    result = fit_conformal(y, lower, level, upper)
    # The distance from the nearest quantile, negative between the two.
    nearest = np.minimum(np.abs(y - lower), np.abs(y - upper))
    distances = np.sort(np.where((y >= lower) & (y <= upper), -nearest, nearest), axis=0)
    np.testing.assert_allclose(result.half_width, distances[int(100 * level) - 1])
    coverage = empirical_coverage(result, y, lower, upper=upper)
    assert [item.value for item in coverage] == pytest.approx([100 * level / 99] * 2)


def test_coverage_of_quantiles_holds_for_any_quantiles() -> None:
    # Here too narrow and biased; the width follows the noise of the row.
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.1, 3, (1_000, 500))
    targets = scale * rng.normal(size=scale.shape)
    shares, of_quiet_rows = [], []
    for y, s in zip(targets[:, :, None], scale[:, :, None], strict=True):
        result = fit_conformal(y[:99], -0.5 * s[:99], 0.9, s[:99])
        low, high = result.intervals(-0.5 * s[99:], s[99:])
        inside = (low <= y[99:]) & (y[99:] <= high)
        shares.append(inside.mean())
        of_quiet_rows.append((high - low)[s[99:] < 0.3].mean() / (high - low)[s[99:] > 2.8].mean())
    assert np.mean(shares) == pytest.approx(0.9, abs=0.004)
    assert np.mean(of_quiet_rows) < 0.7


def test_rounding_of_the_rank() -> None:
    # 100 · 0.55 is 55.00000000000001 in floats.
    y = np.arange(1.0, 100)[:, None]
    assert fit_conformal(y, np.zeros((99, 1)), 0.55).half_width.tolist() == [55.0]


def test_no_rows() -> None:
    nothing = np.zeros((0, 2))
    result = fit_conformal(nothing, nothing)
    assert result.half_width.tolist() == [np.inf, np.inf]
    assert [(item.low, item.high) for item in empirical_coverage(result, nothing, nothing)] == [
        (0, 1)
    ] * 2


@pytest.mark.parametrize("level", [pytest.param(0.8, marks=pytest.mark.slow), 0.95])
def test_nominal_coverage_holds(level: float) -> None:
    # For any residuals: here heavy-tailed and biased.
    rng = np.random.default_rng(0)
    shares, hits = [], 0
    targets = rng.standard_t(3, (1_000, 500)) + 0.5
    for line in targets:
        result = fit_conformal(line[:99, None], np.zeros((99, 1)), level)
        (coverage,) = empirical_coverage(result, line[99:, None], np.zeros((401, 1)))
        shares.append(coverage.value)
        # With 99 rows the coverage is exact on average.
        hits += coverage.low <= np.mean(np.abs(targets) <= result.half_width) <= coverage.high
    assert np.mean(shares) == pytest.approx(level, abs=0.004)
    assert 930 <= hits <= 970
