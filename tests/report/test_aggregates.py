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


def of(values, folding=None):
    members = [{"test": {"rmse": value}} for value in values]
    return aggregate(members, folding)["test"]["rmse"]


def test_an_interval_of_a_share_stays_a_share():
    members = [{"test": {"auc": value, "rmse": value}} for value in (0.99, 0.7, 0.98)]
    found = aggregate(members)["test"]
    assert found["rmse"].high > 1
    assert found["auc"] == replace(found["rmse"], high=1.0)
    assert aggregate([{"test": {"f1": 0.0}}, {"test": {"f1": 0.1}}])["test"]["f1"].low == 0.0


@pytest.mark.parametrize("degrees", [*range(1, 60), 99, 100, 999, 1000, 19_999, 999_999])
def test_quantiles_are_those_of_scipy(degrees):
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


@given(values=VALUES)
def test_interval_is_that_of_scipy(values):
    found = of(values)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    assert found.sd == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-9)
    error = stats.sem(values)
    if error > 1e-6:
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.n == len(values)


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=12), repeats=st.integers(1, 4))
def test_interval_of_folds_is_that_of_nadeau_and_bengio(values, repeats):
    folds = len(values)
    draw = np.random.default_rng(1)
    table = np.array(values) + draw.normal(size=(repeats, folds))
    folding = FoldAssignment(list(range(1, folds + 1)) * repeats, 1 / max(folds - 1, 1))
    found = of(table.ravel().tolist(), folding)
    per_fold = table.mean(axis=0)
    error = math.sqrt((1 / folds + folding.ratio) * per_fold.var(ddof=1))
    low, high = stats.t.interval(0.95, folds - 1, table.mean(), error)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.sd == pytest.approx(table.std(ddof=1))
    assert found.n == folds * repeats
    plain = of(table.mean(axis=0).tolist())
    assert found.high - found.low >= plain.high - plain.low


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_interval_holds_the_truth_as_often_as_it_says(seed):
    draw = np.random.default_rng(seed)
    hits = [
        found.low <= 0.8 <= found.high
        for found in (of(draw.normal(0.8, 0.05, 5).tolist()) for _ in range(2000))
    ]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.025)


def test_what_is_not_defined_is_left_out_and_counted():
    found = of([0.5, None, float("nan"), 0.75, float("inf")])
    assert (found.mean, found.n) == (0.625, 2)
    missing = aggregate([{"test": {"auc": 0.5, "f1": 0.25}}, {"test": {"auc": 0.75}}, {}])["test"]
    assert missing["auc"].n == 2
    assert missing["f1"].n == 1
    folded = of([0.5, None, 0.75, 1.0], FoldAssignment([1, 2, 1, 2], 1.0))
    assert (folded.mean, folded.n) == (0.75, 3)
    assert folded.high - folded.mean == pytest.approx(
        stats.t.ppf(0.975, 1) * math.sqrt(1.5 * np.var([0.625, 1.0], ddof=1))
    )


def test_one_network_has_no_interval():
    assert to_json(of([0.5])) == {"mean": 0.5, "sd": None, "low": None, "high": None, "n": 1}
    nothing = {"mean": None, "sd": None, "low": None, "high": None, "n": 0}
    assert to_json(of([None, float("nan")])) == nothing
    one_fold = of([0.5, 0.75], FoldAssignment([1, 1], 0.25))
    assert (one_fold.sd, one_fold.low) == (pytest.approx(0.125 * math.sqrt(2)), None)


def test_splits_and_metrics_stay_in_their_order():
    members = [
        {"train": {"loss": 1.0, "f1": 0.5}, "test": {"loss": 2.0}},
        {"validation": {"loss": 1.0}, "train": {"auc": 1.0, "loss": 3.0}},
    ]
    found = aggregate(members)
    assert {split: list(metrics) for split, metrics in found.items()} == {
        "train": ["loss", "f1", "auc"],
        "test": ["loss"],
        "validation": ["loss"],
    }
    assert found["train"]["loss"].mean == 2.0
    assert to_json(found["train"]["loss"])["n"] == 2
