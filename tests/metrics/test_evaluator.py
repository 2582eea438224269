"""All metrics compared with `compute_metrics` and scikit-learn."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from tests.metrics.samples import make_predictions, random_predictions, samples
from trainer.config.metrics import METRICS
from trainer.metrics.compute import compute_metrics
from trainer.metrics.evaluator import (
    MetricEvaluator,
    compute_all_metrics,
    is_higher_better,
    split_metric_name,
)
from trainer.metrics.predictions import Predictions

TASKS = ("binary", "multiclass", "multilabel", "regression")
THRESHOLD = 0.4
any_sample = st.sampled_from(TASKS).flatmap(samples)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Ignore warnings of scikit-learn about undefined metrics."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def assert_same(result: Any, expected: Any, what: Any = "") -> None:
    assert result == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True), what


@settings(max_examples=80, deadline=None)
@given(any_sample)
def test_values_match_compute_metrics(sample: Predictions) -> None:
    names = [name for name, info in METRICS.items() if sample.task in info.tasks]
    expected = compute_metrics(names, sample.task, sample.y, sample.p, sample.weight, THRESHOLD)
    result = compute_all_metrics(sample, THRESHOLD)
    assert set(expected) - {"mape", "top_3_accuracy", "top_5_accuracy"} <= set(result)
    for name in set(expected) & set(result):
        assert_same(result[name], expected[name], name)


def test_class_with_all_the_weight() -> None:
    weight = np.random.default_rng(0).uniform(0.1, 5, 28)
    y = np.eye(3)[np.zeros(28, int)]
    result = compute_all_metrics(make_predictions("multiclass", y, y[::-1] / 3 + 0.2, weight))
    assert result["c0/balanced_accuracy"] == result["c0/recall"] == 1


def test_r2_of_a_constant_column() -> None:
    y, weight = np.full(3, -2 / 3), np.array([0.1, 0.2, 0.7])
    assert compute_all_metrics(make_predictions("regression", y, y + 1, weight))["r2"] == 0
    assert compute_all_metrics(make_predictions("regression", y, y, weight))["r2"] == 1


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["multiclass", "multilabel"]).flatmap(samples))
def test_parts_are_one_vs_rest(sample: Predictions) -> None:
    result = compute_all_metrics(sample, THRESHOLD)
    for k, name in enumerate(sample.names):
        part = make_predictions("binary", sample.y[:, k], sample.p[:, k], sample.weight)
        expected = compute_all_metrics(part, THRESHOLD)
        if sample.task == "multiclass":
            called = (np.argmax(sample.p, axis=1) == k).astype(float)
            labels = compute_all_metrics(
                make_predictions("binary", sample.y[:, k], called, sample.weight)
            )
            kept = ("auc", "average_precision", "log_loss", "brier")
            expected = labels | {item: expected[item] for item in kept}
        for metric, value in expected.items():
            assert_same(result[f"{name}/{metric}"], value, (name, metric))


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["multiclass", "multilabel"]).flatmap(samples))
def test_averages_match_sklearn(sample: Predictions) -> None:
    w, k = sample.weight, sample.y.shape[1]
    result = compute_all_metrics(sample, THRESHOLD)
    truth, predicted = sample.y.astype(int), (sample.p >= THRESHOLD).astype(int)
    if sample.task == "multiclass":
        predicted = np.eye(k, dtype=int)[np.argmax(sample.p, axis=1)]
    for average in ("micro", "weighted"):
        for name in ("precision", "recall", "f1"):
            metric = getattr(oracle, f"{name}_score")
            # scikit-learn treats a single column as two classes and averages over both.
            expected = (
                metric(truth, predicted, average=average, zero_division=0.0, sample_weight=w)
                if k > 1
                else metric(truth[:, 0], predicted[:, 0], zero_division=0.0, sample_weight=w)
            )
            if average == "weighted" and k == 1 and not (truth[:, 0] @ sample.weights()) > 0:
                expected = 0.0
            assert_same(result[f"{name}_{average}"], expected, (name, average))
    if (sample.y.sum(axis=0) > 0).all() and (sample.y.sum(axis=0) < len(sample)).all() and k > 1:
        if w is not None and (w == 0).any():
            return
        for name, metric in (
            ("auc", oracle.roc_auc_score),
            ("average_precision", oracle.average_precision_score),
        ):
            expected = metric(truth, sample.p, average="weighted", sample_weight=w)
            assert_same(result[f"{name}_weighted"], expected, name)


@settings(max_examples=60, deadline=None)
@given(samples("regression"))
def test_regression_matches_sklearn(sample: Predictions) -> None:
    result = compute_all_metrics(sample)
    assert not any("pinball" in name for name in result)
    if sample.y.shape[1] > 1:
        rmse = oracle.root_mean_squared_error(
            sample.y, sample.p, sample_weight=sample.weight, multioutput="raw_values"
        )
        assert_same([result[f"{name}/rmse"] for name in sample.names], rmse)
    else:
        assert all(split_metric_name(name)[0] == "" for name in result)


def test_mape_is_defined_away_from_zero() -> None:
    near, far = np.array([0.001, 5.0, 7.0]), np.array([4.0, 5.0, -7.0])
    assert "mape" not in compute_all_metrics(make_predictions("regression", near, near + 1))
    assert compute_all_metrics(make_predictions("regression", far, far + 1))[
        "mape"
    ] == pytest.approx(oracle.mean_absolute_percentage_error(far, far + 1))
    both = compute_all_metrics(
        make_predictions("regression", np.stack([near, far], 1), np.ones((3, 2)))
    )
    assert "c1/mape" in both
    assert not {"mape", "c0/mape"} & set(both)


def test_top_k_accuracy_needs_more_classes() -> None:
    for classes, tops in ((3, set()), (4, {3}), (6, {3, 5})):
        result = compute_all_metrics(random_predictions("multiclass", 40, 0, classes))
        assert {k for k in (3, 5) if f"top_{k}_accuracy" in result} == tops


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TASKS).flatmap(lambda task: samples(task, integer_weights=True)))
def test_integer_weights_are_repeated_rows(sample: Predictions) -> None:
    times = sample.weights().astype(int)
    repeated = replace(sample.take(np.repeat(np.arange(len(sample)), times)), weight=None)
    result, expected = compute_all_metrics(sample), compute_all_metrics(repeated)
    # MAPE is left out where targets are small relative to their median, which repeated rows change.
    assert {name for name in expected if not name.endswith("mape")} <= set(result)
    for name in set(result) & set(expected):
        if not name.endswith("r2") or len(sample) > 2:
            assert_same(result[name], expected[name], name)


@settings(max_examples=40, deadline=None)
@given(any_sample, st.integers(0, 99))
def test_order_of_rows_does_not_matter(sample: Predictions, seed: int) -> None:
    mixed = sample.take(np.random.default_rng(seed).permutation(len(sample)))
    result, expected = compute_all_metrics(mixed), compute_all_metrics(sample)
    for name, value in expected.items():
        assert_same(result[name], value, name)


@settings(max_examples=40, deadline=None)
@given(any_sample, st.integers(0, 99))
def test_metrics_under_many_weightings_match_single_weightings(
    sample: Predictions, seed: int
) -> None:
    weights = np.random.default_rng(seed).integers(0, 3, (5, len(sample))).astype(float)
    evaluator = MetricEvaluator(sample, THRESHOLD)
    result = evaluator.compute(weights)
    for line, weight in zip(result, weights, strict=True):
        alone = compute_all_metrics(replace(sample, weight=weight), THRESHOLD)
        assert_same(line.tolist(), list(alone.values()), evaluator.names)


@pytest.mark.parametrize("task", TASKS)
def test_undefined_metrics_are_nan(task: str) -> None:
    sample = random_predictions(task, 12, 0)
    names = set(compute_all_metrics(sample))
    wrong = sample.p.copy()
    wrong[3] = np.nan
    nothing = sample.take(np.zeros(12, bool))
    for item in (nothing, replace(sample, weight=np.zeros(12)), replace(sample, p=wrong)):
        result = compute_all_metrics(item)
        assert names - {"mape"} - {f"{name}/mape" for name in sample.names} <= set(result)
        assert all(math.isnan(value) for value in result.values())


def test_selected_metrics() -> None:
    sample = random_predictions("multiclass", 30, 1)
    evaluator = MetricEvaluator(sample, names=("accuracy", "c1/auc"))
    expected = compute_all_metrics(sample)
    result = evaluator.compute(np.ones((1, 30)))[0]
    assert evaluator.names == ("accuracy", "c1/auc")
    assert_same(result.tolist(), [expected["accuracy"], expected["c1/auc"]])


def test_is_higher_better() -> None:
    for name in compute_all_metrics(random_predictions("multiclass", 30, 1)):
        assert is_higher_better(name) != name.endswith(("log_loss", "brier"))
    for name in compute_all_metrics(random_predictions("regression", 30, 1)):
        assert is_higher_better(name) == name.endswith("r2")
    assert split_metric_name("a/b/auc") == ("a/b", "auc")


def test_float32_epsilon_is_used() -> None:
    # The log loss of p = 1 for a negative row depends on the epsilon of the dtype.
    y, p = np.array([[0.0], [1.0]]), np.array([[1.0], [1.0]], np.float32)
    sample = Predictions("binary", ("no", "yes"), y, p, np.arange(2))
    expected = compute_metrics(["log_loss"], "binary", y, p, None, 0.5)
    assert compute_all_metrics(sample)["log_loss"] == pytest.approx(expected["log_loss"])


def test_no_tensorflow_no_scipy() -> None:
    code = (
        "import sys, trainer.assessment.bootstrap, trainer.assessment.slices;"
        "import trainer.assessment.baselines, trainer.assessment.calibration;"
        "import trainer.assessment.thresholds, trainer.assessment.curves;"
        "import trainer.assessment.conformal;"
        "print(sorted({'tensorflow', 'keras', 'scipy', 'sklearn', 'polars'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
