from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainer.report.aggregates import FoldAssignment, aggregate, t_quantile
from trainer.runs.records import to_json

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30)


def aggregate_values(values, fold_assignment=None):
    members = [{"test": {"rmse": value}} for value in values]
    return aggregate(members, fold_assignment)["test"]["rmse"]


def test_interval_of_a_share_is_clipped():
    members = [{"test": {"auc": value, "rmse": value}} for value in (0.99, 0.7, 0.98)]
    result = aggregate(members)["test"]
    assert result["rmse"].high > 1
    assert result["auc"] == replace(result["rmse"], high=1.0)
    assert aggregate([{"test": {"f1": 0.0}}, {"test": {"f1": 0.1}}])["test"]["f1"].low == 0.0


@pytest.mark.parametrize("degrees", [*range(1, 60), 99, 100, 999, 1000, 19_999, 999_999])
def test_t_quantile_matches_scipy(degrees):
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


@given(values=VALUES)
def test_interval_matches_scipy(values):
    result = aggregate_values(values)
    assert result.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    assert result.std == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-9)
    error = stats.sem(values)
    if error > 1e-6:
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        assert (result.low, result.high) == (pytest.approx(low), pytest.approx(high))
    assert result.n == len(values)


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=12), repeats=st.integers(1, 4))
def test_interval_of_folds_uses_nadeau_bengio_correction(values, repeats):
    folds = len(values)
    rng = np.random.default_rng(1)
    table = np.array(values) + rng.normal(size=(repeats, folds))
    fold_assignment = FoldAssignment(list(range(1, folds + 1)) * repeats, 1 / max(folds - 1, 1))
    result = aggregate_values(table.ravel().tolist(), fold_assignment)
    per_fold = table.mean(axis=0)
    error = math.sqrt((1 / folds + fold_assignment.ratio) * per_fold.var(ddof=1))
    low, high = stats.t.interval(0.95, folds - 1, table.mean(), error)
    assert (result.low, result.high) == (pytest.approx(low), pytest.approx(high))
    assert result.std == pytest.approx(table.std(ddof=1))
    assert result.n == folds * repeats
    plain = aggregate_values(table.mean(axis=0).tolist())
    assert result.high - result.low >= plain.high - plain.low


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_interval_has_nominal_coverage(seed):
    rng = np.random.default_rng(seed)
    hits = [
        result.low <= 0.8 <= result.high
        for result in (aggregate_values(rng.normal(0.8, 0.05, 5).tolist()) for _ in range(2000))
    ]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.025)


def test_undefined_values_are_ignored():
    result = aggregate_values([0.5, None, float("nan"), 0.75, float("inf")])
    assert (result.mean, result.n) == (0.625, 2)
    missing = aggregate([{"test": {"auc": 0.5, "f1": 0.25}}, {"test": {"auc": 0.75}}, {}])["test"]
    assert missing["auc"].n == 2
    assert missing["f1"].n == 1
    folded = aggregate_values([0.5, None, 0.75, 1.0], FoldAssignment([1, 2, 1, 2], 1.0))
    assert (folded.mean, folded.n) == (0.75, 3)
    assert folded.high - folded.mean == pytest.approx(
        stats.t.ppf(0.975, 1) * math.sqrt(1.5 * np.var([0.625, 1.0], ddof=1))
    )


def test_single_network_has_no_interval():
    assert to_json(aggregate_values([0.5])) == {
        "mean": 0.5,
        "std": None,
        "low": None,
        "high": None,
        "n": 1,
    }
    nothing = {"mean": None, "std": None, "low": None, "high": None, "n": 0}
    assert to_json(aggregate_values([None, float("nan")])) == nothing
    one_fold = aggregate_values([0.5, 0.75], FoldAssignment([1, 1], 0.25))
    assert (one_fold.std, one_fold.low) == (pytest.approx(0.125 * math.sqrt(2)), None)


def test_order_of_splits_and_metrics():
    members = [
        {"train": {"loss": 1.0, "f1": 0.5}, "test": {"loss": 2.0}},
        {"validation": {"loss": 1.0}, "train": {"auc": 1.0, "loss": 3.0}},
    ]
    result = aggregate(members)
    assert {split: list(metrics) for split, metrics in result.items()} == {
        "train": ["loss", "f1", "auc"],
        "test": ["loss"],
        "validation": ["loss"],
    }
    assert result["train"]["loss"].mean == 2.0
    assert to_json(result["train"]["loss"])["n"] == 2
