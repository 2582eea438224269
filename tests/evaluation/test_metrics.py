"""Every measure against `compute_metrics`, which is the definition, and against scikit-learn."""

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

from tests.evaluation.samples import answers_of, random_answers, samples
from trainer.config.objectives import METRICS
from trainer.evaluation.metrics import (
    MetricEvaluator,
    compute_all_metrics,
    is_higher_better,
    split_metric_name,
)
from trainer.evaluation.predictions import Predictions
from trainer.models.metrics import compute_metrics

TASKS = ("binary", "multiclass", "multilabel", "regression")
THRESHOLD = 0.4
any_sample = st.sampled_from(TASKS).flatmap(samples)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """scikit-learn warns of what is not defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def assert_same(found: Any, expected: Any, what: Any = "") -> None:
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True), what


@settings(max_examples=200, deadline=None)
@given(any_sample)
def test_metrics_of_the_config_are_defined_as_there(sample: Predictions) -> None:
    names = [name for name, facts in METRICS.items() if sample.task in facts.tasks]
    expected = compute_metrics(names, sample.task, sample.y, sample.p, sample.weight, THRESHOLD)
    found = compute_all_metrics(sample, THRESHOLD)
    assert set(expected) - {"mape", "top_3_accuracy", "top_5_accuracy"} <= set(found)
    if sample.weight is not None and (np.ptp(sample.y[sample.weight > 0], axis=0) == 0).any():
        # By the rounding of a weighted mean, what does not vary may have a variance there.
        expected.pop("r2", None)
    for name in set(expected) & set(found):
        assert_same(found[name], expected[name], name)


def test_a_class_with_all_the_weight_is_against_nothing() -> None:
    weight = np.random.default_rng(0).uniform(0.1, 5, 28)
    y = np.eye(3)[np.zeros(28, int)]
    found = compute_all_metrics(answers_of("multiclass", y, y[::-1] / 3 + 0.2, weight))
    assert found["c0/balanced_accuracy"] == found["c0/recall"] == 1


def test_a_column_that_does_not_vary_has_no_variance() -> None:
    y, weight = np.full(3, -2 / 3), np.array([0.1, 0.2, 0.7])
    assert compute_all_metrics(answers_of("regression", y, y + 1, weight))["r2"] == 0
    assert compute_all_metrics(answers_of("regression", y, y, weight))["r2"] == 1


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["multiclass", "multilabel"]).flatmap(samples))
def test_parts_are_two_classes_against_each_other(sample: Predictions) -> None:
    found = compute_all_metrics(sample, THRESHOLD)
    for k, name in enumerate(sample.names):
        own = answers_of("binary", sample.y[:, k], sample.p[:, k], sample.weight)
        expected = compute_all_metrics(own, THRESHOLD)
        if sample.task == "multiclass":
            called = (np.argmax(sample.p, axis=1) == k).astype(float)
            labels = compute_all_metrics(
                answers_of("binary", sample.y[:, k], called, sample.weight)
            )
            kept = ("auc", "average_precision", "log_loss", "brier")
            expected = labels | {each: expected[each] for each in kept}
        for measure, value in expected.items():
            assert_same(found[f"{name}/{measure}"], value, (name, measure))


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["multiclass", "multilabel"]).flatmap(samples))
def test_averages_agree_with_scikit_learn(sample: Predictions) -> None:
    w, k = sample.weight, sample.y.shape[1]
    found = compute_all_metrics(sample, THRESHOLD)
    truth, said = sample.y.astype(int), (sample.p >= THRESHOLD).astype(int)
    if sample.task == "multiclass":
        said = np.eye(k, dtype=int)[np.argmax(sample.p, axis=1)]
    for average in ("micro", "weighted"):
        for name in ("precision", "recall", "f1"):
            measure = getattr(oracle, f"{name}_score")
            # scikit-learn takes a single column for two classes and averages over both.
            expected = (
                measure(truth, said, average=average, zero_division=0.0, sample_weight=w)
                if k > 1
                else measure(truth[:, 0], said[:, 0], zero_division=0.0, sample_weight=w)
            )
            if average == "weighted" and k == 1 and not (truth[:, 0] @ sample.weights()) > 0:
                expected = 0.0
            assert_same(found[f"{name}_{average}"], expected, (name, average))
    if (sample.y.sum(axis=0) > 0).all() and (sample.y.sum(axis=0) < len(sample)).all() and k > 1:
        if w is not None and (w == 0).any():
            return
        for name, measure in (
            ("auc", oracle.roc_auc_score),
            ("average_precision", oracle.average_precision_score),
        ):
            expected = measure(truth, sample.p, average="weighted", sample_weight=w)
            assert_same(found[f"{name}_weighted"], expected, name)


@settings(max_examples=60, deadline=None)
@given(samples("regression"))
def test_numbers_agree_with_scikit_learn(sample: Predictions) -> None:
    found = compute_all_metrics(sample)
    assert not any("pinball" in name for name in found)
    if sample.y.shape[1] > 1:
        rmse = oracle.root_mean_squared_error(
            sample.y, sample.p, sample_weight=sample.weight, multioutput="raw_values"
        )
        assert_same([found[f"{name}/rmse"] for name in sample.names], rmse)
    else:
        assert all(split_metric_name(name)[0] == "" for name in found)


def test_share_of_the_target_only_where_it_means_something() -> None:
    near, far = np.array([0.001, 5.0, 7.0]), np.array([4.0, 5.0, -7.0])
    assert "mape" not in compute_all_metrics(answers_of("regression", near, near + 1))
    assert compute_all_metrics(answers_of("regression", far, far + 1))["mape"] == pytest.approx(
        oracle.mean_absolute_percentage_error(far, far + 1)
    )
    both = compute_all_metrics(answers_of("regression", np.stack([near, far], 1), np.ones((3, 2))))
    assert "c1/mape" in both
    assert not {"mape", "c0/mape"} & set(both)


def test_top_of_more_classes_only() -> None:
    for classes, tops in ((3, set()), (4, {3}), (6, {3, 5})):
        found = compute_all_metrics(random_answers("multiclass", 40, 0, classes))
        assert {k for k in (3, 5) if f"top_{k}_accuracy" in found} == tops


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TASKS).flatmap(lambda task: samples(task, whole_weights=True)))
def test_whole_weights_are_repeated_rows(sample: Predictions) -> None:
    times = sample.weights().astype(int)
    repeated = replace(sample.take(np.repeat(np.arange(len(sample)), times)), weight=None)
    found, expected = compute_all_metrics(sample), compute_all_metrics(repeated)
    assert set(found) >= set(expected) - {"mape"}
    for name in set(found) & set(expected):
        if not name.endswith("r2") or len(sample) > 2:
            assert_same(found[name], expected[name], name)


@settings(max_examples=40, deadline=None)
@given(any_sample, st.integers(0, 99))
def test_the_order_of_the_rows_does_not_matter(sample: Predictions, seed: int) -> None:
    mixed = sample.take(np.random.default_rng(seed).permutation(len(sample)))
    found, expected = compute_all_metrics(mixed), compute_all_metrics(sample)
    for name, value in expected.items():
        assert_same(found[name], value, name)


@settings(max_examples=40, deadline=None)
@given(any_sample, st.integers(0, 99))
def test_many_weightings_are_each_like_one(sample: Predictions, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(0, 3, (5, len(sample))).astype(float)
    judge = MetricEvaluator(sample, THRESHOLD)
    found = judge.compute(weights)
    for line, weight in zip(found, weights, strict=True):
        alone = compute_all_metrics(replace(sample, weight=weight), THRESHOLD)
        assert_same(line.tolist(), list(alone.values()), judge.names)


@pytest.mark.parametrize("task", TASKS)
def test_what_cannot_be_told_is_nan(task: str) -> None:
    sample = random_answers(task, 12, 0)
    names = set(compute_all_metrics(sample))
    wrong = sample.p.copy()
    wrong[3] = np.nan
    nothing = sample.take(np.zeros(12, bool))
    for each in (nothing, replace(sample, weight=np.zeros(12)), replace(sample, p=wrong)):
        found = compute_all_metrics(each)
        assert names - {"mape"} - {f"{name}/mape" for name in sample.names} <= set(found)
        assert all(math.isnan(value) for value in found.values())


def test_named_measures_only() -> None:
    sample = random_answers("multiclass", 30, 1)
    judge = MetricEvaluator(sample, names=("accuracy", "c1/auc"))
    expected = compute_all_metrics(sample)
    found = judge.compute(np.ones((1, 30)))[0]
    assert judge.names == ("accuracy", "c1/auc")
    assert_same(found.tolist(), [expected["accuracy"], expected["c1/auc"]])


def test_directions() -> None:
    for name in compute_all_metrics(random_answers("multiclass", 30, 1)):
        assert is_higher_better(name) != name.endswith(("log_loss", "brier"))
    for name in compute_all_metrics(random_answers("regression", 30, 1)):
        assert is_higher_better(name) == name.endswith("r2")
    assert split_metric_name("a/b/auc") == ("a/b", "auc")


def test_single_precision_is_kept() -> None:
    # At p = 1 of a wrong row the log loss is as high as the dtype is fine.
    y, p = np.array([[0.0], [1.0]]), np.array([[1.0], [1.0]], np.float32)
    sample = Predictions("binary", ("no", "yes"), y, p, np.arange(2))
    expected = compute_metrics(["log_loss"], "binary", y, p, None, 0.5)
    assert compute_all_metrics(sample)["log_loss"] == pytest.approx(expected["log_loss"])


def test_no_tensorflow_no_scipy() -> None:
    code = (
        "import sys, trainer.evaluation.bootstrap, trainer.evaluation.slices;"
        "import trainer.evaluation.baselines, trainer.evaluation.calibration;"
        "import trainer.evaluation.thresholds, trainer.evaluation.curves;"
        "import trainer.evaluation.conformal;"
        "print(sorted({'tensorflow', 'keras', 'scipy', 'sklearn', 'polars'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
