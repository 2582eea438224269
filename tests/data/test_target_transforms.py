from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import PowerTransformer

from trainer.data.target_transforms import fit_log_transform, fit_power_transform, yeo_johnson

RNG = np.random.default_rng(7)
POWERS = {
    "prices with zeros": np.where(RNG.random(800) < 0.2, 0.0, RNG.lognormal(8, 1.4, 800)),
    "incomes below 0": RNG.standard_t(3, 800) * 20_000 + 15_000,
    "left skew": 100 - RNG.gamma(1.5, 10, 800),
    "heavy tail": RNG.pareto(1.0, 800) * 100,
    "counts": RNG.poisson(RNG.gamma(0.5, 3, 800)).astype(float),
    "normal": RNG.normal(size=800),
    "all below 0": -RNG.lognormal(3, 1, 800),
    "two values": np.array([0.0, 1.0] * 20),
}


@pytest.mark.parametrize("name", POWERS)
def test_power_transform_equals_scikit_learn(name):
    values = POWERS[name]
    sklearn_result = PowerTransformer("yeo-johnson", standardize=False).fit(values[:, None])
    ours = fit_power_transform(values)
    if -2.9 < sklearn_result.lambdas_[0] < 4.9:
        assert ours.exponent == pytest.approx(sklearn_result.lambdas_[0], abs=1e-5)
    expected = yeo_johnson(values, float(sklearn_result.lambdas_[0]))
    np.testing.assert_allclose(
        expected, sklearn_result.transform(values[:, None])[:, 0], rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(
    "values",
    [
        np.array([1e30, 2e30, 5e33]),
        np.array([1e-300, 2.0]),
        np.array([1e9, 1e9 + 1]),
        np.array([-1e30, 0.0, 1e30]),
        np.array([0.0] * 999 + [1.0]),
        np.array([0.0] * 999 + [1e12]),
    ],
)
@pytest.mark.parametrize("outputs", [np.array([-1e30, -100.0, 0.0, 100.0, 1e30])])
def test_power_transform_of_extreme_values_is_finite(values, outputs):
    curve = fit_power_transform(values)
    curved = curve.transform(values)
    assert np.isfinite(curved).all()
    assert curved.std() > 0
    assert np.isfinite(curve.inverse_transform(outputs)).all()
    assert (np.diff(curve.inverse_transform(outputs)) >= 0).all()


def test_predictions_are_bounded_by_the_training_range():
    log = fit_log_transform(np.array([20.0, 5_000.0]))
    np.testing.assert_allclose(log.inverse_transform(np.array([-1e9, 1e9])), [0.2, 500_000])
    power = fit_power_transform(np.array([-10.0, 0.0, 5.0, 90.0]))
    assert power.inverse_transform(np.array([-1e30, 1e30])).tolist() == [-10_010, 10_090]
    assert np.isnan(log.inverse_transform(np.array([np.nan]))).all()


@given(
    arrays(np.float64, st.integers(3, 40), elements=st.floats(-1e6, 1e6, width=32)).filter(
        lambda values: np.ptp(values) > 1e-2
    )
)
def test_power_transform_round_trip(values):
    curve = fit_power_transform(values)
    assert -3 <= curve.exponent <= 5
    order = np.argsort(values)
    assert (np.diff(curve.transform(values)[order]) >= 0).all()
    # Where the transform is flat, digits are lost; its middle is exact.
    kept = np.abs(values) < 1e3
    np.testing.assert_allclose(
        curve.inverse_transform(curve.transform(values))[kept], values[kept], rtol=1e-4, atol=1e-4
    )


@given(arrays(np.float64, st.integers(2, 40), elements=st.floats(1e-200, 1e200)))
def test_log_transform_round_trip(values):
    curve = fit_log_transform(values)
    np.testing.assert_allclose(curve.inverse_transform(curve.transform(values)), values, rtol=1e-10)
