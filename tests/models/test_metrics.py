"""Every metric against scikit-learn, on random rows with ties, weights and missing classes."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from trainer.config.objectives import METRICS, MetricName
from trainer.models.metrics import compute_metrics, predicted_positive

THRESHOLD = 0.4


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """scikit-learn warns of what is not defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def for_task(task: str) -> list[MetricName]:
    return [name for name, facts in METRICS.items() if task in facts.tasks]


@st.composite
def rows(draw: st.DrawFn, classes: int) -> tuple[Any, Any, Any]:
    """(truth as class numbers, probabilities, weights or None); scores on a grid, so tied."""
    n = draw(st.integers(2, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    present = draw(st.integers(1, classes))
    truth = rng.integers(0, present, n)
    grid = draw(st.sampled_from([1, 3, 10, 10**6]))
    scores = rng.integers(0, grid + 1, (n, classes)) / grid
    if draw(st.booleans()):
        scores = np.broadcast_to(scores[:1], scores.shape).copy()
    weight = draw(st.sampled_from(["none", "whole", "real", "zeros"]))
    if weight == "none":
        return truth, scores, None
    if weight == "real":
        return truth, scores, rng.uniform(0.1, 5, n)
    weights = rng.integers(0 if weight == "zeros" else 1, 4, n).astype(np.float64)
    weights[0] = 1
    return truth, scores, weights


def assert_same(found: dict[str, float], expected: dict[str, Callable[[], float]]) -> None:
    assert set(found) == set(expected)
    for name, value in found.items():
        try:
            right = float(expected[name]())
        except ValueError:
            right = math.nan
        assert value == pytest.approx(right, rel=1e-6, abs=1e-6, nan_ok=True), name


@settings(max_examples=120, deadline=None)
@given(rows(2))
def test_binary_agrees_with_scikit_learn(sample: tuple[Any, Any, Any]) -> None:
    truth, scores, w = sample
    p = scores[:, 1]
    called = (p >= THRESHOLD).astype(int)
    found = compute_metrics(
        for_task("binary"), "binary", truth[:, None].astype(float), p[:, None], w, THRESHOLD
    )
    zero = {"sample_weight": w, "zero_division": 0.0}
    assert_same(
        found,
        {
            "accuracy": lambda: oracle.accuracy_score(truth, called, sample_weight=w),
            "balanced_accuracy": lambda: oracle.balanced_accuracy_score(
                truth, called, sample_weight=w
            ),
            "precision": lambda: oracle.precision_score(truth, called, **zero),
            "recall": lambda: oracle.recall_score(truth, called, **zero),
            "specificity": lambda: oracle.recall_score(truth, called, pos_label=0, **zero),
            "f1": lambda: oracle.f1_score(truth, called, **zero),
            "mcc": lambda: oracle.matthews_corrcoef(truth, called, sample_weight=w),
            "auc": lambda: oracle.roc_auc_score(truth, p, sample_weight=w),
            "average_precision": lambda: oracle.average_precision_score(truth, p, sample_weight=w),
            "log_loss": lambda: oracle.log_loss(truth, p, labels=[0, 1], sample_weight=w),
            "brier": lambda: oracle.brier_score_loss(truth, p, labels=[0, 1], sample_weight=w),
        },
    )


@settings(max_examples=120, deadline=None)
@given(st.integers(3, 7).flatmap(rows))
def test_multiclass_agrees_with_scikit_learn(sample: tuple[Any, Any, Any]) -> None:
    truth, scores, w = sample
    p = (scores + 0.01) / (scores + 0.01).sum(axis=1, keepdims=True)
    classes = list(range(p.shape[1]))
    called = p.argmax(axis=1)
    y = np.eye(p.shape[1])[truth]
    macro = {"labels": classes, "average": "macro", "zero_division": 0.0, "sample_weight": w}
    assert_same(
        compute_metrics(for_task("multiclass"), "multiclass", y, p, w, THRESHOLD),
        {
            "accuracy": lambda: oracle.accuracy_score(truth, called, sample_weight=w),
            "balanced_accuracy": lambda: oracle.balanced_accuracy_score(
                truth, called, sample_weight=w
            ),
            "precision": lambda: oracle.precision_score(truth, called, **macro),
            "recall": lambda: oracle.recall_score(truth, called, **macro),
            "f1": lambda: oracle.f1_score(truth, called, **macro),
            "mcc": lambda: oracle.matthews_corrcoef(truth, called, sample_weight=w),
            "auc": lambda: oracle.roc_auc_score(
                truth, p, multi_class="ovr", labels=classes, sample_weight=w
            ),
            "average_precision": lambda: oracle.average_precision_score(y, p, sample_weight=w),
            "log_loss": lambda: oracle.log_loss(truth, p, labels=classes, sample_weight=w),
            "brier": lambda: oracle.brier_score_loss(truth, p, labels=classes, sample_weight=w),
            "top_3_accuracy": lambda: oracle.top_k_accuracy_score(
                truth, p, k=3, labels=classes, sample_weight=w
            ),
            "top_5_accuracy": lambda: oracle.top_k_accuracy_score(
                truth, p, k=5, labels=classes, sample_weight=w
            ),
        },
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 4).flatmap(rows), st.integers(0, 2**32 - 1))
def test_multilabel_agrees_with_scikit_learn(sample: tuple[Any, Any, Any], seed: int) -> None:
    _, p, w = sample
    y = np.random.default_rng(seed).integers(0, 2, p.shape)
    called = (p >= THRESHOLD).astype(int)
    columns = range(p.shape[1])
    macro = {"average": "macro", "zero_division": 0.0, "sample_weight": w}
    assert_same(
        compute_metrics(for_task("multilabel"), "multilabel", y.astype(float), p, w, THRESHOLD),
        {
            "accuracy": lambda: np.mean(
                [oracle.accuracy_score(y[:, k], called[:, k], sample_weight=w) for k in columns]
            ),
            "precision": lambda: oracle.precision_score(y, called, **macro),
            "recall": lambda: oracle.recall_score(y, called, **macro),
            "f1": lambda: oracle.f1_score(y, called, **macro),
            "auc": lambda: oracle.roc_auc_score(y, p, sample_weight=w),
            "average_precision": lambda: oracle.average_precision_score(y, p, sample_weight=w),
            "log_loss": lambda: np.mean(
                [oracle.log_loss(y[:, k], p[:, k], labels=[0, 1], sample_weight=w) for k in columns]
            ),
            "brier": lambda: np.mean(
                [
                    oracle.brier_score_loss(y[:, k], p[:, k], labels=[0, 1], sample_weight=w)
                    for k in columns
                ]
            ),
        },
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3).flatmap(rows), st.integers(0, 2**32 - 1), st.booleans())
def test_regression_agrees_with_scikit_learn(
    sample: tuple[Any, Any, Any], seed: int, constant: bool
) -> None:
    _, p, w = sample
    y = np.round(np.random.default_rng(seed).normal(0, 10, p.shape), 1)
    if constant:
        y[:] = y[0]
    assert_same(
        compute_metrics(for_task("regression"), "regression", y, p, w, THRESHOLD),
        {
            "mse": lambda: oracle.mean_squared_error(y, p, sample_weight=w),
            "rmse": lambda: oracle.root_mean_squared_error(y, p, sample_weight=w),
            "mae": lambda: oracle.mean_absolute_error(y, p, sample_weight=w),
            "median_absolute_error": lambda: oracle.median_absolute_error(y, p, sample_weight=w),
            "mape": lambda: oracle.mean_absolute_percentage_error(y, p, sample_weight=w),
            "r2": lambda: oracle.r2_score(y, p, sample_weight=w),
        },
    )


def test_float32_predictions_are_clipped_at_their_own_resolution() -> None:
    y = np.array([[1.0], [0.0]], dtype=np.float32)
    p = np.array([[0.0], [0.25]], dtype=np.float32)
    found = compute_metrics(["log_loss"], "binary", y, p, None, THRESHOLD)
    assert found["log_loss"] == pytest.approx(oracle.log_loss(y[:, 0], p[:, 0]), abs=1e-6)


def test_order_of_names_is_kept() -> None:
    y, p = np.array([[0.0], [1.0]]), np.array([[0.2], [0.7]])
    assert list(compute_metrics(["f1", "accuracy", "auc"], "binary", y, p, None, THRESHOLD)) == [
        "f1",
        "accuracy",
        "auc",
    ]


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
@pytest.mark.parametrize("what", ["no rows", "no weight", "nan", "inf"])
def test_nothing_is_claimed_of_nothing(task: Any, what: str) -> None:
    k = 1 if task == "binary" else 3
    y = np.eye(k)[np.zeros(4, dtype=int)]
    p = np.full((4, k), 0.5)
    w = None
    match what:
        case "no rows":
            y, p = y[:0], p[:0]
        case "no weight":
            w = np.zeros(4)
        case "nan":
            p[2, 0] = np.nan
        case _:
            p[2, 0] = np.inf
    found = compute_metrics(for_task(task), task, y, p, w, THRESHOLD)
    assert found
    assert all(math.isnan(value) for value in found.values())


def test_a_probability_at_the_threshold_is_positive() -> None:
    assert predicted_positive(np.array([0.49, 0.5, 0.51]), 0.5).tolist() == [False, True, True]


def test_weights_count_like_repeated_rows() -> None:
    rng = np.random.default_rng(5)
    y, p = rng.integers(0, 2, (40, 1)).astype(float), rng.integers(0, 9, (40, 1)) / 8
    times = rng.integers(0, 4, 40)
    names = for_task("binary")
    weighted = compute_metrics(names, "binary", y, p, times.astype(float), THRESHOLD)
    y, p = y.repeat(times, 0), p.repeat(times, 0)
    repeated = compute_metrics(names, "binary", y, p, None, THRESHOLD)
    assert weighted == pytest.approx(repeated)


def test_plan_and_metrics_leave_keras_unloaded() -> None:
    program = (
        "import sys, trainer.models.summary, trainer.models.metrics\n"
        "assert not {'keras', 'tensorflow', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("threshold", [0.7, 0.1, 0.3, 0.9])
def test_neighbours_of_the_threshold_are_compared_in_float64(threshold: float) -> None:
    nearest = np.float32(threshold)
    around = np.array([np.nextafter(nearest, np.float32(0)), nearest,
                       np.nextafter(nearest, np.float32(1))], np.float32)  # fmt: skip
    expected = [float(p) >= threshold for p in around]
    assert predicted_positive(around, threshold).tolist() == expected
    y = np.ones((3, 1), np.float32)
    found = compute_metrics(["recall"], "binary", y, around[:, None], None, threshold)
    assert found["recall"] == pytest.approx(sum(expected) / 3)
