from __future__ import annotations

import math

import numpy as np
import pytest

from trainer.models.ranking_metrics import average_precision, roc_auc, top_k_hits


def test_auc_is_the_fraction_of_ordered_pairs() -> None:
    rng = np.random.default_rng(0)
    y_true, y_score = rng.integers(0, 2, 60).astype(float), rng.integers(0, 8, 60).astype(float)
    above = y_score[y_true == 1][:, None] - y_score[y_true == 0][None, :]
    fraction = np.mean((above > 0) + 0.5 * (above == 0))
    assert roc_auc(y_true, y_score, None) == pytest.approx(fraction)
    assert roc_auc(y_true, -y_score, None) == pytest.approx(1 - fraction)


def test_auc_of_one_class_is_undefined() -> None:
    assert math.isnan(roc_auc(np.ones(3), np.arange(3.0), None))
    assert math.isnan(roc_auc(np.array([0.0, 1.0]), np.arange(2.0), np.array([1.0, 0.0])))


def test_constant_scores() -> None:
    y_true, y_score = np.array([0.0, 1.0, 1.0, 0.0, 0.0]), np.full(5, 0.3)
    assert roc_auc(y_true, y_score, None) == 0.5
    assert average_precision(y_true, y_score, None) == pytest.approx(0.4)


def test_average_precision_equals_its_formula() -> None:
    # In descending order of scores, +, -, +: precision 1 at recall 1/2, 2/3 at recall 1.
    y_true, y_score = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.9, 0.8, 0.7, 0.1])
    assert average_precision(y_true, y_score, None) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.zeros(4), y_score, None) == 0.0


def test_top_k() -> None:
    scores = np.array([[0.1, 0.5, 0.4], [0.2, 0.2, 0.6]])
    assert top_k_hits(np.array([2, 0]), scores, 2).tolist() == [True, False]
    assert top_k_hits(np.array([2, 1]), scores, 2).tolist() == [True, True]
    assert top_k_hits(np.array([0, 0]), scores, 3).tolist() == [True, True]
