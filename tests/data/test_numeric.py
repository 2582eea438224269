from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from trainer.config.data import Numeric, Outliers
from trainer.data.numeric import (
    NumericColumn,
    SortedValues,
    apply_numeric,
    fit_numeric,
    outlier_bounds,
)

values = arrays(np.float64, st.integers(2, 60), elements=st.floats(-1e6, 1e6, width=32))


def summary(x):
    gaps = np.isnan(x)
    return SortedValues(np.sort(x[~gaps]), int(gaps.sum()))


def fit(x, settings, outliers=None):
    return fit_numeric("x", summary(x), settings, outliers)


def encoded(column: NumericColumn, x: np.ndarray) -> np.ndarray:
    return apply_numeric([column], x.reshape(-1, 1).copy())[0][:, 0]


@pytest.mark.parametrize(
    ("scale", "oracle"),
    [("standard", StandardScaler()), ("minmax", MinMaxScaler()), ("robust", RobustScaler())],
)
@given(x=values)
def test_scales_agree_with_sklearn(scale, oracle, x):
    column = fit(x, Numeric(scale=scale))
    if column is None:
        assert np.all(x == x[0])
        return
    quartiles = np.percentile(x, [25, 75])
    if scale == "robust" and quartiles[0] == quartiles[1]:
        assert column.divisor == pytest.approx(np.std(x))
        return
    if np.ptp(x) < 1e-6 * max(1, np.abs(x).max()):
        return
    if scale == "robust" and quartiles[1] - quartiles[0] < 1e-12:
        return  # sklearn treats it as 0
    expected = oracle.fit_transform(x.reshape(-1, 1))[:, 0]
    np.testing.assert_allclose(encoded(column, x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("impute", ["mean", "median", "most_frequent", "constant"])
def test_imputation_agrees_with_sklearn(impute):
    x = np.array([1.0, np.nan, 4.0, 4.0, 10.0, np.nan])
    column = fit(x, Numeric(impute=impute, constant=-1.0, scale="none"))
    oracle = SimpleImputer(strategy=impute, fill_value=-1.0)
    np.testing.assert_array_equal(encoded(column, x), oracle.fit_transform(x[:, None])[:, 0])
    assert column.missing == 2


def test_scale_is_fitted_on_imputed_values():
    x = np.array([0.0, 1.0, 2.0, np.nan, np.nan])
    column = fit(x, Numeric(impute="constant", constant=9.0))
    z = encoded(column, x)
    assert z.mean() == pytest.approx(0)
    assert z.std() == pytest.approx(1)


def test_quantiles_are_normal():
    x = np.random.default_rng(0).exponential(size=5_000)
    column = fit(x, Numeric(scale="quantile"))
    z = encoded(column, x)
    assert abs(z.mean()) < 0.01
    assert abs(z.std() - 1) < 0.02
    order = np.argsort(x)
    assert np.all(np.diff(z[order]) >= 0)
    assert encoded(column, np.array([-5.0, 1e9])).tolist() == [z.min(), z.max()]
    assert len(column.quantiles.values) <= 1_000


def test_tied_quantiles_have_their_mean_rank():
    column = fit(np.array([0.0] * 50 + [1.0] * 50), Numeric(scale="quantile"))
    low, high = encoded(column, np.array([0.0, 1.0]))
    assert low == pytest.approx(-high)


def test_smooth_clip_formula():
    x = np.array([-100.0, -1.0, 0.0, 1.0, 100.0])
    column = fit(x, Numeric(scale="none", smooth_clip=3.0))
    np.testing.assert_allclose(encoded(column, x), x / np.sqrt(1 + (x / 3) ** 2), rtol=1e-12)


def test_clipped_outliers():
    x = np.array([*range(1, 10), 1000.0], dtype=np.float64)
    column = fit(x, Numeric(scale="none"), Outliers(method="iqr", factor=1.5))
    q1, q3 = np.percentile(x, [25, 75])
    top = q3 + 1.5 * (q3 - q1)
    assert encoded(column, np.array([1000.0, 5.0, -1e9])).tolist() == [top, 5, q1 - 1.5 * (q3 - q1)]
    assert column.maximum == 1000


def test_zscore_bounds():
    x = np.sort(np.random.default_rng(0).normal(size=100))
    bounds = outlier_bounds(summary(x), Outliers(method="zscore", factor=2.0))
    assert bounds.lower == pytest.approx(x.mean() - 2 * x.std())
    assert bounds.upper == pytest.approx(x.mean() + 2 * x.std())


def test_no_outliers_with_equal_quartiles():
    x = np.array([0.0] * 9 + [5.0])
    assert outlier_bounds(summary(x), Outliers()) is None


def test_constant_columns_are_dropped_unless_missing_values_are_marked():
    x = np.array([3.0, np.nan, 3.0])
    assert fit(x, Numeric()) is None
    kept = fit(x, Numeric(indicator=True))
    assert kept.features == ("x", "x=(missing)")
    assert fit(np.array([1.0, 2.0]), Numeric(indicator=True)).features == ("x",)


def test_large_values_do_not_overflow():
    column = fit(np.array([1e300, -1e300, 5e299]), Numeric())
    assert np.all(np.isfinite(encoded(column, np.array([1e300, -1e300]))))
