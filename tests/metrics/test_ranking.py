from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn import metrics as oracle

from tests.metrics.samples import samples
from trainer.metrics.predictions import Predictions
from trainer.metrics.ranking import (
    ColumnRanking,
    average_precision,
    classes_ranked_above,
    roc_auc,
)


def test_auc_is_the_fraction_of_ordered_pairs() -> None:
    rng = np.random.default_rng(0)
    y_true, y_score = rng.integers(0, 2, 60).astype(bool), rng.integers(0, 8, 60).astype(float)
    above = y_score[y_true][:, None] - y_score[~y_true][None, :]
    fraction = np.mean((above > 0) + 0.5 * (above == 0))
    assert roc_auc(y_true, y_score, None) == pytest.approx(fraction)
    assert roc_auc(y_true, -y_score, None) == pytest.approx(1 - fraction)


def test_auc_of_one_class_is_undefined() -> None:
    assert math.isnan(roc_auc(np.ones(3, bool), np.arange(3.0), None))
    assert math.isnan(roc_auc(np.array([False, True]), np.arange(2.0), np.array([1.0, 0.0])))


def test_constant_scores() -> None:
    y_true, y_score = np.array([0, 1, 1, 0, 0], bool), np.full(5, 0.3)
    assert roc_auc(y_true, y_score, None) == 0.5
    assert average_precision(y_true, y_score, None) == pytest.approx(0.4)


def test_average_precision_of_a_small_example() -> None:
    # In descending order of scores, +, -, +: precision 1 at recall 1/2, 2/3 at recall 1.
    y_true, y_score = np.array([1, 0, 1, 0], bool), np.array([0.9, 0.8, 0.7, 0.1])
    assert average_precision(y_true, y_score, None) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.zeros(4, bool), y_score, None) == 0.0


def test_classes_ranked_above() -> None:
    scores = np.array([[0.1, 0.5, 0.4], [0.2, 0.2, 0.6]])
    assert classes_ranked_above(np.array([2, 0]), scores).tolist() == [1, 2]
    assert classes_ranked_above(np.array([2, 1]), scores).tolist() == [1, 1]


@settings(max_examples=50, deadline=None)
@given(samples("binary"))
def test_areas_match_scikit_learn_for_many_weightings(sample: Predictions) -> None:
    y, p = sample.y[:, 0] > 0.5, sample.p[:, 0]
    weights = np.random.default_rng(len(y)).integers(0, 3, (6, len(y))).astype(float)
    weights[0] = sample.weights()
    areas, average_precisions = ColumnRanking(y, p).areas(weights)
    for row, weight in enumerate(weights):
        classes_present = {bool(label) for label in y[weight > 0]}
        if len(classes_present) == 2:
            assert areas[row] == pytest.approx(oracle.roc_auc_score(y, p, sample_weight=weight))
        else:
            assert math.isnan(areas[row])
        if True in classes_present:
            expected = oracle.average_precision_score(y, p, sample_weight=weight)
            assert average_precisions[row] == pytest.approx(expected)
        else:
            assert average_precisions[row] == 0


@settings(max_examples=50, deadline=None)
@given(samples("binary"))
def test_equal_weights_are_a_weighting_by_ones(sample: Predictions) -> None:
    ranking = ColumnRanking(sample.y[:, 0] > 0.5, sample.p[:, 0])
    for equal, ones in zip(
        ranking.areas(None), ranking.areas(np.ones((1, len(sample)))), strict=True
    ):
        np.testing.assert_array_equal(equal, ones)


def test_single_class() -> None:
    weights = np.ones((2, 3))
    for truth, expected in ((False, 0.0), (True, 1.0)):
        areas, average_precisions = ColumnRanking(np.full(3, truth), np.arange(3.0)).areas(weights)
        assert np.isnan(areas).all()
        assert average_precisions.tolist() == [expected, expected]
