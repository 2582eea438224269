from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from tests.metrics.samples import random_predictions, samples
from trainer.assessment.curves import confusion_matrices, precision_recall_curve, roc_curve
from trainer.metrics.predictions import Predictions
from trainer.metrics.ranking import roc_auc


@settings(max_examples=100, deadline=None)
@given(samples("binary"))
def test_roc_curve_points_and_area(sample: Predictions) -> None:
    y, p, w = sample.y[:, 0], sample.p[:, 0], sample.weights()
    result = roc_curve(y, p, sample.weight)
    if not ((w * y).sum() > 0 and (w * (1 - y)).sum() > 0):
        assert np.isnan(result.x).all() or np.isnan(result.y).all()
        return
    assert (result.x[0], result.y[0], result.x[-1], result.y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(result.y, result.x) == pytest.approx(roc_auc(y > 0.5, p, sample.weight))
    for x, height, threshold in zip(result.x, result.y, result.threshold, strict=True):
        predicted_positive = p >= threshold
        assert x == pytest.approx((w * (1 - y) * predicted_positive).sum() / (w * (1 - y)).sum())
        assert height == pytest.approx((w * y * predicted_positive).sum() / (w * y).sum())


def test_collinear_points_are_removed() -> None:
    y, p = np.repeat([1.0, 0.0, 1.0], [40, 50, 60]), np.linspace(1, 0, 150)
    result = roc_curve(y, p)
    assert result.x.tolist() == [0, 0, 1, 1]
    assert result.y == pytest.approx([0, 0.4, 0.4, 1])


@settings(max_examples=100, deadline=None)
@given(samples("binary"))
def test_precision_recall_matches_sklearn(sample: Predictions) -> None:
    y, p, w = sample.y[:, 0], sample.p[:, 0], sample.weights()
    if not (w * y).sum() > 0 or (w == 0).any():
        return
    result = precision_recall_curve(y, p, sample.weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        precision, recall, thresholds = oracle.precision_recall_curve(
            y, p, sample_weight=sample.weight
        )
    # scikit-learn has the reverse order, does not stop at recall 1, and adds a point at recall 0.
    kept = len(result.x)
    assert result.x == pytest.approx(recall[-2::-1][:kept])
    assert result.y == pytest.approx(precision[-2::-1][:kept])
    assert result.threshold == pytest.approx(thresholds[::-1][:kept])
    assert result.x[-1] == pytest.approx(1)


def test_thinning_is_accurate() -> None:
    sample = random_predictions("binary", 20_000, 0)
    y, p = sample.y[:, 0], sample.p[:, 0]
    for make in (roc_curve, precision_recall_curve):
        full, thin = make(y, p, points=10**9), make(y, p, points=500)
        assert len(thin.x) <= 502 < len(full.x)
        assert (thin.x[0], thin.x[-1]) == (full.x[0], full.x[-1])
        drawn = np.interp(full.x, thin.x, thin.y)
        # Precision is unsteady for the first few rows.
        late = full.x > 0.02
        assert np.abs(drawn - full.y)[late].max() < 0.01


def test_single_class_and_no_rows() -> None:
    for y in (np.ones(4), np.zeros(4), np.zeros(0)):
        p = np.linspace(0, 1, len(y))
        roc_curve(y, p)
        precision_recall_curve(y, p)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["binary", "multiclass", "multilabel"]).flatmap(samples))
def test_confusion_matches_sklearn(sample: Predictions) -> None:
    result = confusion_matrices(sample, 0.4)
    w = sample.weight
    if sample.task == "multiclass":
        classes = range(sample.y.shape[1])
        truth, predicted = sample.y.argmax(axis=1), sample.p.argmax(axis=1)
        assert result == pytest.approx(
            oracle.confusion_matrix(truth, predicted, labels=list(classes), sample_weight=w)
        )
        return
    columns = result[None] if sample.task == "binary" else result
    for k, matrix in enumerate(columns):
        predicted = sample.p[:, k] >= 0.4
        expected = oracle.confusion_matrix(
            sample.y[:, k], predicted, labels=[0, 1], sample_weight=w
        )
        assert matrix == pytest.approx(expected)
