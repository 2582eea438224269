"""Compare every metric with scikit-learn on random rows with ties, weights and missing classes."""

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
from sklearn import metrics as sklearn_metrics

from trainer.config.metrics import METRICS, MetricName
from trainer.metrics.compute import compute_metrics

THRESHOLD = 0.4


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    """Ignore the warnings of scikit-learn about undefined metrics."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def for_task(task: str) -> list[MetricName]:
    return [name for name, info in METRICS.items() if task in info.tasks]


@st.composite
def rows(draw: st.DrawFn, classes: int) -> tuple[Any, Any, Any]:
    """Draw (class numbers, scores, weights or None); scores are on a grid and have ties."""
    n = draw(st.integers(2, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    present = draw(st.integers(1, classes))
    y_true = rng.integers(0, present, n)
    grid = draw(st.sampled_from([1, 3, 10, 10**6]))
    scores = rng.integers(0, grid + 1, (n, classes)) / grid
    if draw(st.booleans()):
        scores = np.broadcast_to(scores[:1], scores.shape).copy()
    weight = draw(st.sampled_from(["none", "integer", "real", "zeros"]))
    if weight == "none":
        return y_true, scores, None
    if weight == "real":
        return y_true, scores, rng.uniform(0.1, 5, n)
    weights = rng.integers(0 if weight == "zeros" else 1, 4, n).astype(np.float64)
    weights[0] = 1
    return y_true, scores, weights


def assert_equal(actual: dict[str, float], expected: dict[str, Callable[[], float]]) -> None:
    assert set(actual) == set(expected)
    for name, value in actual.items():
        try:
            reference = float(expected[name]())
        except ValueError:
            reference = math.nan
        assert value == pytest.approx(reference, rel=1e-6, abs=1e-6, nan_ok=True), name


@settings(max_examples=40, deadline=None)
@given(rows(2))
def test_binary_metrics_match_scikit_learn(sample: tuple[Any, Any, Any]) -> None:
    y_true, scores, w = sample
    p = scores[:, 1]
    predicted = (p >= THRESHOLD).astype(int)
    metrics = compute_metrics(
        for_task("binary"), "binary", y_true[:, None].astype(float), p[:, None], w, THRESHOLD
    )
    zero = {"sample_weight": w, "zero_division": 0.0}
    assert_equal(
        metrics,
        {
            "accuracy": lambda: sklearn_metrics.accuracy_score(y_true, predicted, sample_weight=w),
            "balanced_accuracy": lambda: sklearn_metrics.balanced_accuracy_score(
                y_true, predicted, sample_weight=w
            ),
            "precision": lambda: sklearn_metrics.precision_score(y_true, predicted, **zero),
            "recall": lambda: sklearn_metrics.recall_score(y_true, predicted, **zero),
            "specificity": lambda: sklearn_metrics.recall_score(
                y_true, predicted, pos_label=0, **zero
            ),
            "f1": lambda: sklearn_metrics.f1_score(y_true, predicted, **zero),
            "mcc": lambda: sklearn_metrics.matthews_corrcoef(y_true, predicted, sample_weight=w),
            "auc": lambda: sklearn_metrics.roc_auc_score(y_true, p, sample_weight=w),
            "average_precision": lambda: sklearn_metrics.average_precision_score(
                y_true, p, sample_weight=w
            ),
            "log_loss": lambda: sklearn_metrics.log_loss(y_true, p, labels=[0, 1], sample_weight=w),
            "brier": lambda: sklearn_metrics.brier_score_loss(
                y_true, p, labels=[0, 1], sample_weight=w
            ),
        },
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 7).flatmap(rows))
def test_multiclass_metrics_match_scikit_learn(sample: tuple[Any, Any, Any]) -> None:
    y_true, scores, w = sample
    p = (scores + 0.01) / (scores + 0.01).sum(axis=1, keepdims=True)
    classes = list(range(p.shape[1]))
    predicted = p.argmax(axis=1)
    y = np.eye(p.shape[1])[y_true]
    macro = {"labels": classes, "average": "macro", "zero_division": 0.0, "sample_weight": w}
    assert_equal(
        compute_metrics(for_task("multiclass"), "multiclass", y, p, w, THRESHOLD),
        {
            "accuracy": lambda: sklearn_metrics.accuracy_score(y_true, predicted, sample_weight=w),
            "balanced_accuracy": lambda: sklearn_metrics.balanced_accuracy_score(
                y_true, predicted, sample_weight=w
            ),
            "precision": lambda: sklearn_metrics.precision_score(y_true, predicted, **macro),
            "recall": lambda: sklearn_metrics.recall_score(y_true, predicted, **macro),
            "f1": lambda: sklearn_metrics.f1_score(y_true, predicted, **macro),
            "mcc": lambda: sklearn_metrics.matthews_corrcoef(y_true, predicted, sample_weight=w),
            "auc": lambda: sklearn_metrics.roc_auc_score(
                y_true, p, multi_class="ovr", labels=classes, sample_weight=w
            ),
            "average_precision": lambda: sklearn_metrics.average_precision_score(
                y, p, sample_weight=w
            ),
            "log_loss": lambda: sklearn_metrics.log_loss(
                y_true, p, labels=classes, sample_weight=w
            ),
            "brier": lambda: sklearn_metrics.brier_score_loss(
                y_true, p, labels=classes, sample_weight=w
            ),
            "top_3_accuracy": lambda: sklearn_metrics.top_k_accuracy_score(
                y_true, p, k=3, labels=classes, sample_weight=w
            ),
            "top_5_accuracy": lambda: sklearn_metrics.top_k_accuracy_score(
                y_true, p, k=5, labels=classes, sample_weight=w
            ),
        },
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4).flatmap(rows), st.integers(0, 2**32 - 1))
def test_multilabel_metrics_match_scikit_learn(sample: tuple[Any, Any, Any], seed: int) -> None:
    _, p, w = sample
    y = np.random.default_rng(seed).integers(0, 2, p.shape)
    predicted = (p >= THRESHOLD).astype(int)
    columns = range(p.shape[1])
    macro = {"average": "macro", "zero_division": 0.0, "sample_weight": w}
    assert_equal(
        compute_metrics(for_task("multilabel"), "multilabel", y.astype(float), p, w, THRESHOLD),
        {
            "accuracy": lambda: np.mean(
                [
                    sklearn_metrics.accuracy_score(y[:, k], predicted[:, k], sample_weight=w)
                    for k in columns
                ]
            ),
            "precision": lambda: sklearn_metrics.precision_score(y, predicted, **macro),
            "recall": lambda: sklearn_metrics.recall_score(y, predicted, **macro),
            "f1": lambda: sklearn_metrics.f1_score(y, predicted, **macro),
            "auc": lambda: sklearn_metrics.roc_auc_score(y, p, sample_weight=w),
            "average_precision": lambda: sklearn_metrics.average_precision_score(
                y, p, sample_weight=w
            ),
            "log_loss": lambda: np.mean(
                [
                    sklearn_metrics.log_loss(y[:, k], p[:, k], labels=[0, 1], sample_weight=w)
                    for k in columns
                ]
            ),
            "brier": lambda: np.mean(
                [
                    sklearn_metrics.brier_score_loss(
                        y[:, k], p[:, k], labels=[0, 1], sample_weight=w
                    )
                    for k in columns
                ]
            ),
        },
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3).flatmap(rows), st.integers(0, 2**32 - 1), st.booleans())
def test_regression_metrics_match_scikit_learn(
    sample: tuple[Any, Any, Any], seed: int, constant: bool
) -> None:
    _, p, w = sample
    y = np.round(np.random.default_rng(seed).normal(0, 10, p.shape), 1)
    if constant:
        y[:] = y[0]
    assert_equal(
        compute_metrics(for_task("regression"), "regression", y, p, w, THRESHOLD),
        {
            "mse": lambda: sklearn_metrics.mean_squared_error(y, p, sample_weight=w),
            "rmse": lambda: sklearn_metrics.root_mean_squared_error(y, p, sample_weight=w),
            "mae": lambda: sklearn_metrics.mean_absolute_error(y, p, sample_weight=w),
            "median_absolute_error": lambda: sklearn_metrics.median_absolute_error(
                y, p, sample_weight=w
            ),
            "mape": lambda: sklearn_metrics.mean_absolute_percentage_error(y, p, sample_weight=w),
            # Rounding errors of a constant are variance to scikit-learn, but not here.
            "r2": lambda: (
                np.mean((p == y)[slice(None) if w is None else w > 0].all(axis=0))
                if constant
                else sklearn_metrics.r2_score(y, p, sample_weight=w)
            ),
        },
    )


def test_float32_predictions_are_clipped_at_their_resolution() -> None:
    y = np.array([[1.0], [0.0]], dtype=np.float32)
    p = np.array([[0.0], [0.25]], dtype=np.float32)
    metrics = compute_metrics(["log_loss"], "binary", y, p, None, THRESHOLD)
    assert metrics["log_loss"] == pytest.approx(
        sklearn_metrics.log_loss(y[:, 0], p[:, 0]), abs=1e-6
    )


def test_order_of_names_is_preserved() -> None:
    y, p = np.array([[0.0], [1.0]]), np.array([[0.2], [0.7]])
    assert list(compute_metrics(["f1", "accuracy", "auc"], "binary", y, p, None, THRESHOLD)) == [
        "f1",
        "accuracy",
        "auc",
    ]


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
@pytest.mark.parametrize("case", ["no rows", "no weight", "nan", "inf"])
def test_undefined_metrics_are_nan(task: Any, case: str) -> None:
    k = 1 if task == "binary" else 3
    y = np.eye(k)[np.zeros(4, dtype=int)]
    p = np.full((4, k), 0.5)
    w = None
    match case:
        case "no rows":
            y, p = y[:0], p[:0]
        case "no weight":
            w = np.zeros(4)
        case "nan":
            p[2, 0] = np.nan
        case _:
            p[2, 0] = np.inf
    metrics = compute_metrics(for_task(task), task, y, p, w, THRESHOLD)
    assert metrics
    assert all(math.isnan(value) for value in metrics.values())


def test_integer_weights_equal_repeated_rows() -> None:
    rng = np.random.default_rng(5)
    y, p = rng.integers(0, 2, (40, 1)).astype(float), rng.integers(0, 9, (40, 1)) / 8
    times = rng.integers(0, 4, 40)
    names = for_task("binary")
    weighted = compute_metrics(names, "binary", y, p, times.astype(float), THRESHOLD)
    y, p = y.repeat(times, 0), p.repeat(times, 0)
    repeated = compute_metrics(names, "binary", y, p, None, THRESHOLD)
    assert weighted == pytest.approx(repeated)


def test_summary_and_metrics_do_not_import_keras() -> None:
    program = (
        "import sys, trainer.models.summary, trainer.metrics.compute\n"
        "assert not {'keras', 'tensorflow', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
