"""Chosen thresholds compared with a brute-force search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.samples import samples
from trainer.assessment.thresholds import (
    Cost,
    OperatingPoint,
    PrecisionFloor,
    choose_threshold,
    threshold_curve,
)
from trainer.metrics.compute import compute_metrics
from trainer.metrics.predictions import Predictions

CRITERIA = ("f1", "youden", Cost(1, 4), Cost(2.5, 0.5), PrecisionFloor(0.6))


def assert_right(point: OperatingPoint, sample: Predictions) -> None:
    names = ("precision", "recall", "specificity", "f1")
    result = compute_metrics(names, "binary", sample.y, sample.p, sample.weight, point.threshold)
    for name in names:
        assert getattr(point, name) == pytest.approx(result[name], abs=1e-12), name
    predicted = np.average(sample.p[:, 0] >= point.threshold, weights=sample.weights())
    assert point.predicted_share == pytest.approx(predicted)


def value_of(criterion: Any, sample: Predictions, threshold: float) -> float | None:
    y, w = sample.y[:, 0], sample.weights()
    predicted = sample.p[:, 0] >= threshold
    tp, fp = (w * (y > 0) * predicted).sum(), (w * (y < 1) * predicted).sum()
    fn, tn = (w * (y > 0) * ~predicted).sum(), (w * (y < 1) * ~predicted).sum()
    if criterion == "f1":
        return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0
    if criterion == "youden":
        return (tp / (tp + fn) if tp + fn else 0) + (tn / (tn + fp) if tn + fp else 0) - 1
    if isinstance(criterion, Cost):
        return -(criterion.false_positive * fp + criterion.false_negative * fn) / w.sum()
    if tp + fp > 0 and tp / (tp + fp) >= criterion.precision:
        return tp / (tp + fn) if tp + fn else 0.0
    return None


@settings(max_examples=80, deadline=None)
@given(samples("binary"), st.sampled_from(CRITERIA))
def test_chosen_threshold_is_optimal(sample: Predictions, criterion: Any) -> None:
    result = choose_threshold(sample.y, sample.p, criterion, sample.weight)
    values = [value_of(criterion, sample, t) for t in (*np.unique(sample.p), 1.5)]
    reachable = [value for value in values if value is not None]
    assert_right(result.point, sample)
    if not reachable:
        assert result.threshold is None
        assert result.value == result.point.precision < 0.6
        return
    assert result.threshold == result.point.threshold
    value = -result.value if isinstance(criterion, Cost) else result.value
    assert value == pytest.approx(max(reachable), abs=1e-9)
    assert value_of(criterion, sample, result.threshold) == pytest.approx(value, abs=1e-9)


def test_threshold_is_a_midpoint() -> None:
    y, p = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.3, 0.4, 0.9])
    result = choose_threshold(y, p, "f1")
    assert result.threshold == pytest.approx(0.35)
    assert result.value == 1


def test_ties_are_resolved_towards_one_half() -> None:
    # J is ½ at 0.25 and at 0.75, equally far from 0.5: the lower one wins.
    y, p = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.2, 0.3, 0.7, 0.8])
    assert choose_threshold(y, p, "youden").threshold == pytest.approx(0.25)
    assert choose_threshold(y, p + 0.05, "youden").threshold == pytest.approx(0.3)
    assert choose_threshold(y, p - 0.05, "youden").threshold == pytest.approx(0.7)


def test_precision_equal_to_the_minimum_is_enough() -> None:
    y, p = np.array([1.0, 0.0, 1.0, 1.0, 0.0]), np.array([0.9, 0.8, 0.7, 0.6, 0.1])
    result = choose_threshold(y, p, PrecisionFloor(0.75))
    assert (result.threshold, result.value) == (pytest.approx(0.35), 1)


def test_unreachable_precision() -> None:
    y, p = np.array([1.0, 0.0, 1.0, 0.0, 0.0]), np.array([0.5, 0.5, 0.4, 0.3, 0.2])
    result = choose_threshold(y, p, PrecisionFloor(0.95))
    assert result.threshold is None
    assert result.value == pytest.approx(2 / 3)
    assert result.point.recall == 1


def test_adjacent_floats_and_extremes() -> None:
    low = np.float64(0.5)
    high = np.nextafter(low, 1)
    y = np.array([0.0, 1.0])
    result = choose_threshold(y, np.array([low, high]), "f1")
    assert result.value == 1
    assert result.threshold == high
    # The lowest threshold predicts only positives, the highest none.
    assert choose_threshold(np.ones(2), np.zeros(2), "f1").threshold == 0
    none = choose_threshold(np.zeros(2), np.ones(2), Cost(1, 1))
    assert none.point.predicted_share == 0
    assert none.value == 0


@settings(max_examples=60, deadline=None)
@given(samples("binary"))
def test_threshold_curve_is_correct(sample: Predictions) -> None:
    result = threshold_curve(sample.y, sample.p, sample.weight)
    assert (np.diff(result.threshold) > 0).all()
    assert {0.0, 0.5, 1.0} <= set(result.threshold)
    assert len(result.threshold) <= 202
    for index in range(0, len(result.threshold), 13):
        assert_right(result.at(index), sample)
