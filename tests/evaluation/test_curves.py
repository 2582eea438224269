from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from tests.evaluation.samples import random_answers, samples
from trainer.evaluation.curves import confusion_matrices, precision_recall_curve, roc_curve
from trainer.evaluation.predictions import Predictions
from trainer.models.ranking_metrics import roc_auc


@settings(max_examples=100, deadline=None)
@given(samples("binary"))
def test_roc_curve_has_the_area_and_its_points(sample: Predictions) -> None:
    y, p, w = sample.y[:, 0], sample.p[:, 0], sample.weights()
    found = roc_curve(y, p, sample.weight)
    if not ((w * y).sum() > 0 and (w * (1 - y)).sum() > 0):
        assert np.isnan(found.x).all() or np.isnan(found.y).all()
        return
    assert (found.x[0], found.y[0], found.x[-1], found.y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(found.y, found.x) == pytest.approx(roc_auc(y, p, sample.weight))
    for x, height, threshold in zip(found.x, found.y, found.threshold, strict=True):
        called = p >= threshold
        assert x == pytest.approx((w * (1 - y) * called).sum() / (w * (1 - y)).sum())
        assert height == pytest.approx((w * y * called).sum() / (w * y).sum())


def test_points_on_a_straight_line_are_left_out() -> None:
    y, p = np.repeat([1.0, 0.0, 1.0], [40, 50, 60]), np.linspace(1, 0, 150)
    found = roc_curve(y, p)
    assert found.x.tolist() == [0, 0, 1, 1]
    assert found.y == pytest.approx([0, 0.4, 0.4, 1])


@settings(max_examples=100, deadline=None)
@given(samples("binary"))
def test_precision_recall_agrees_with_scikit_learn(sample: Predictions) -> None:
    y, p, w = sample.y[:, 0], sample.p[:, 0], sample.weights()
    if not (w * y).sum() > 0 or (w == 0).any():
        return
    found = precision_recall_curve(y, p, sample.weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        precision, recall, thresholds = oracle.precision_recall_curve(
            y, p, sample_weight=sample.weight
        )
    # scikit-learn goes the other way, on until all are called, and adds a point at recall 0.
    kept = len(found.x)
    assert found.x == pytest.approx(recall[-2::-1][:kept])
    assert found.y == pytest.approx(precision[-2::-1][:kept])
    assert found.threshold == pytest.approx(thresholds[::-1][:kept])
    assert found.x[-1] == pytest.approx(1)


def test_thinned_without_visible_loss() -> None:
    sample = random_answers("binary", 20_000, 0)
    y, p = sample.y[:, 0], sample.p[:, 0]
    for make in (roc_curve, precision_recall_curve):
        whole, thin = make(y, p, points=10**9), make(y, p, points=500)
        assert len(thin.x) <= 502 < len(whole.x)
        assert (thin.x[0], thin.x[-1]) == (whole.x[0], whole.x[-1])
        drawn = np.interp(whole.x, thin.x, thin.y)
        # The precision of the first few rows jumps.
        late = whole.x > 0.02
        assert np.abs(drawn - whole.y)[late].max() < 0.01


def test_curves_of_one_class_and_of_nothing() -> None:
    for y in (np.ones(4), np.zeros(4), np.zeros(0)):
        p = np.linspace(0, 1, len(y))
        roc_curve(y, p)
        precision_recall_curve(y, p)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["binary", "multiclass", "multilabel"]).flatmap(samples))
def test_confusion_agrees_with_scikit_learn(sample: Predictions) -> None:
    found = confusion_matrices(sample, 0.4)
    w = sample.weight
    if sample.task == "multiclass":
        classes = range(sample.y.shape[1])
        truth, said = sample.y.argmax(axis=1), sample.p.argmax(axis=1)
        assert found == pytest.approx(
            oracle.confusion_matrix(truth, said, labels=list(classes), sample_weight=w)
        )
        return
    columns = found[None] if sample.task == "binary" else found
    for k, matrix in enumerate(columns):
        said = sample.p[:, k] >= 0.4
        expected = oracle.confusion_matrix(sample.y[:, k], said, labels=[0, 1], sample_weight=w)
        assert matrix == pytest.approx(expected)
