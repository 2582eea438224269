from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import KBinsDiscretizer, SplineTransformer

from trainer.config.data import Numeric, Outliers
from trainer.data.numeric import SortedValues, fit_numeric
from trainer.data.piecewise import encode_piecewise

SKEWED = np.random.default_rng(0).lognormal(size=505)
ALL_TRAIN = {"split": {"test": 0.0, "validation": 0.0}}


def fit(x, bins, outliers=None, **settings):
    known = SortedValues(np.sort(x[~np.isnan(x)]), int(np.isnan(x).sum()))
    return fit_numeric("x", known, Numeric(piecewise_bins=bins, **settings), outliers)


def encoded(bins, x):
    out = np.full((len(x), len(bins.means)), 9, np.float32)
    encode_piecewise({0: bins}, np.array(x, dtype=np.float64)[:, None], out, [0])
    return out


def test_edges_are_those_of_kbins_discretizer():
    # All quantiles are values, as 504 is a multiple of 6.
    oracle = KBinsDiscretizer(6, strategy="quantile", quantile_method="linear")
    oracle.fit(SKEWED[:, None])
    assert fit(SKEWED, 6).piecewise.edges == pytest.approx(oracle.bin_edges_[0], rel=1e-12)


def test_inputs_are_sums_of_splines_of_degree_1():
    bins = fit(SKEWED, 6).piecewise
    x = np.concatenate([SKEWED, bins.edges, [-5.0, 0.0, 1e6]])
    oracle = SplineTransformer(
        degree=1, knots=np.array(bins.edges)[:, None], extrapolation="constant"
    ).fit(SKEWED[:, None])
    # The rising flank of a hat and all hats to its right add up to 1.
    sums = np.cumsum(oracle.transform(x[:, None])[:, ::-1], axis=1)[:, ::-1]
    expected = sums[:, 1:] - sums[: len(SKEWED), 1:].mean(axis=0)
    np.testing.assert_allclose(encoded(bins, x), expected, atol=1e-6)


def test_inputs_follow_their_formula():
    bins = fit(np.array([0.0, 1.0, 2.0, 4.0, 8.0]), 4).piecewise
    assert bins.edges == (0, 1, 2, 4, 8)
    expected = np.array([[1, 1, 0.5, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0.25, 0, 0, 0]])
    means = np.array([0.8, 0.6, 0.4, 0.2])
    assert bins.means == pytest.approx(means)
    np.testing.assert_allclose(encoded(bins, [3, -7, 99, 0.25]), expected - means, atol=1e-6)


@given(
    x=arrays(np.float64, st.integers(3, 60), elements=st.floats(-1e6, 1e6, width=32)),
    ties=st.integers(1, 20),
    count=st.integers(2, 12),
)
def test_inputs_are_centered_and_monotone(x, ties, count):
    x = np.concatenate([x, np.repeat(x[0], ties)])
    column = fit(x, count)
    if column is None or column.piecewise is None:
        return
    bins = column.piecewise
    assert 2 <= len(bins.means) <= count
    np.testing.assert_allclose(encoded(bins, x).mean(axis=0), 0, atol=1e-6)
    queries = np.sort(np.concatenate([x, np.linspace(x.min() - 9, x.max() + 9, 50)]))
    inputs = encoded(bins, queries) + np.array(bins.means)
    assert np.all(np.diff(inputs, axis=0) >= -1e-6)
    assert inputs[0] == pytest.approx(0, abs=1e-6)
    assert inputs[-1] == pytest.approx(1, abs=1e-6)
    positions = np.interp(queries, bins.edges, np.arange(len(bins.edges)))
    np.testing.assert_allclose(inputs.sum(axis=1), positions, atol=1e-5)


@pytest.mark.parametrize("x", [[3, 3, np.nan], [0, 1, 0, 1, 1], [*[0] * 97, 5, 6, 7]])
def test_columns_with_fewer_than_two_bins_have_none(x):
    column = fit(np.array(x, dtype=np.float64), 8, indicator=True)
    assert column.piecewise is None
    assert "piecewise" not in column.model_dump()
    assert len(column.features) == 1 + column.indicator


def test_tied_quantiles_are_merged():
    x = np.array([0.0] * 60 + list(range(1, 41)))
    bins = fit(x, 10).piecewise
    assert len(bins.means) == 4
    np.testing.assert_allclose(encoded(bins, x).mean(axis=0), 0, atol=1e-6)


def test_imputed_values_do_not_count():
    x = np.array([1.0, 2.0, np.nan, 3.0, np.nan, 4.0])
    column = fit(x, 3, impute="constant", constant=100.0)
    assert column.piecewise.edges == (1, 2, 3, 4)
    inputs = encoded(column.piecewise, x)
    assert inputs[[2, 4]].tolist() == [[0, 0, 0]] * 2
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-6)


def test_edges_are_within_the_bounds_of_outliers():
    x = np.concatenate([SKEWED, [1e6]])
    column = fit(x, 5, Outliers(method="iqr", factor=1.5))
    assert column.piecewise.edges[-1] == column.outliers.upper < 10
    top = encoded(column.piecewise, [column.outliers.upper, 1e9])
    assert top[0].tolist() == top[1].tolist()


def test_large_values_do_not_overflow():
    bins = fit(np.array([1e300, -1e300, 5e299]), 2).piecewise
    assert np.all(np.isfinite(encoded(bins, [1e300, -1e300, 0])))


def test_names_and_places_of_inputs(prepare_frame):
    frame = pl.DataFrame(
        {
            "age": [20.5, None, 40.0, 50.0] * 4 + [40.0],
            "when": [f"2024-01-{day:02d}" for day in range(1, 18)],
            "y": ["a", "b"] * 8 + ["a"],
        }
    )
    settings = {"numeric": {"piecewise_bins": 2, "indicator": True}}
    columns = {"when": {"piecewise_bins": 4, "parts": ["elapsed", "week"]}}
    dataset = prepare_frame(frame, **ALL_TRAIN, **settings, columns=columns)
    assert dataset.preprocessing.feature_names == (
        "age", "age=(missing)", "age=20.5…40", "age=40…50",
        "when.elapsed", "when.elapsed=0…4", "when.elapsed=4…8",
        "when.elapsed=8…12", "when.elapsed=12…16", "when.week.sin", "when.week.cos",
    )  # fmt: skip
    x = dataset.samples("train").inputs["features"]
    assert x[1, 1:4].tolist() == [1, 0, 0]
    np.testing.assert_allclose(x[:, 2:4].mean(axis=0), 0, atol=1e-6)
    odd = dataset.preprocessing.transform(
        pl.DataFrame({"age": ["inf", "old", "99"], "when": [None, "1990-01-01", "2030-01-01"]})
    )
    assert odd.inputs["features"][:2, 2:4].tolist() == [[0, 0], [0, 0]]
    assert odd.inputs["features"][2, 2:4] == pytest.approx(x[3, 2:4])
    assert odd.inputs["features"][1, 5:9] == pytest.approx(x[0, 5:9])
    assert odd.inputs["features"][2, 5:9] == pytest.approx(x[-1, 5:9])
    linear = dataset.preprocessing.with_linear_scaling()
    assert linear.feature_names == (
        "age", "age=(missing)", "when.elapsed", "when.week.sin", "when.week.cos",
    )  # fmt: skip
    assert dataset.preprocessing.from_json(dataset.preprocessing.to_json()) == dataset.preprocessing
