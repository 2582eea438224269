"""Every rule is tried one by one as the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.samples import samples
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.thresholds import (
    Cost,
    OperatingPoint,
    PrecisionFloor,
    choose_threshold,
    threshold_curve,
)
from trainer.models.metrics import compute_metrics

CRITERIA = ("f1", "youden", Cost(1, 4), Cost(2.5, 0.5), PrecisionFloor(0.6))


def assert_right(point: OperatingPoint, sample: Predictions) -> None:
    names = ("precision", "recall", "specificity", "f1")
    found = compute_metrics(names, "binary", sample.y, sample.p, sample.weight, point.threshold)
    for name in names:
        assert getattr(point, name) == pytest.approx(found[name], abs=1e-12), name
    called = np.average(sample.p[:, 0] >= point.threshold, weights=sample.weights())
    assert point.called == pytest.approx(called)


def value_of(criterion: Any, sample: Predictions, threshold: float) -> float | None:
    y, w = sample.y[:, 0], sample.weights()
    called = sample.p[:, 0] >= threshold
    tp, fp = (w * (y > 0) * called).sum(), (w * (y < 1) * called).sum()
    fn, tn = (w * (y > 0) * ~called).sum(), (w * (y < 1) * ~called).sum()
    if criterion == "f1":
        return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0
    if criterion == "youden":
        return (tp / (tp + fn) if tp + fn else 0) + (tn / (tn + fp) if tn + fp else 0) - 1
    if isinstance(criterion, Cost):
        return -(criterion.false_positive * fp + criterion.false_negative * fn) / w.sum()
    if tp + fp > 0 and tp / (tp + fp) >= criterion.precision:
        return tp / (tp + fn) if tp + fn else 0.0
    return None


@settings(max_examples=200, deadline=None)
@given(samples("binary"), st.sampled_from(CRITERIA))
def test_no_threshold_is_better(sample: Predictions, criterion: Any) -> None:
    found = choose_threshold(sample.y, sample.p, criterion, sample.weight)
    tried = [value_of(criterion, sample, t) for t in (*np.unique(sample.p), 1.5)]
    possible = [value for value in tried if value is not None]
    assert_right(found.point, sample)
    if not possible:
        assert found.threshold is None
        assert found.value == found.point.precision < 0.6
        return
    assert found.threshold == found.point.threshold
    value = -found.value if isinstance(criterion, Cost) else found.value
    assert value == pytest.approx(max(possible), abs=1e-9)
    assert value_of(criterion, sample, found.threshold) == pytest.approx(value, abs=1e-9)


def test_half_way_between_neighbours() -> None:
    y, p = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.3, 0.4, 0.9])
    found = choose_threshold(y, p, "f1")
    assert found.threshold == pytest.approx(0.35)
    assert found.value == 1


def test_of_equal_ones_the_nearest_to_a_half() -> None:
    # J is ½ at 0.25 and at 0.75; the lower of equally near ones is taken.
    y, p = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.2, 0.3, 0.7, 0.8])
    assert choose_threshold(y, p, "youden").threshold == pytest.approx(0.25)
    assert choose_threshold(y, p + 0.05, "youden").threshold == pytest.approx(0.3)
    assert choose_threshold(y, p - 0.05, "youden").threshold == pytest.approx(0.7)


def test_precision_that_cannot_be_reached() -> None:
    y, p = np.array([1.0, 0.0, 1.0, 0.0, 0.0]), np.array([0.5, 0.5, 0.4, 0.3, 0.2])
    found = choose_threshold(y, p, PrecisionFloor(0.95))
    assert found.threshold is None
    assert found.value == pytest.approx(2 / 3)
    assert found.point.recall == 1


def test_neighbouring_floats_and_the_ends() -> None:
    low = np.float64(0.5)
    high = np.nextafter(low, 1)
    y = np.array([0.0, 1.0])
    found = choose_threshold(y, np.array([low, high]), "f1")
    assert found.value == 1
    assert found.threshold == high
    # All are called at the lowest, none above the highest.
    assert choose_threshold(np.ones(2), np.zeros(2), "f1").threshold == 0
    none = choose_threshold(np.zeros(2), np.ones(2), Cost(1, 1))
    assert none.point.called == 0
    assert none.value == 0


@settings(max_examples=60, deadline=None)
@given(samples("binary"))
def test_trade_off_is_right_everywhere(sample: Predictions) -> None:
    found = threshold_curve(sample.y, sample.p, sample.weight)
    assert (np.diff(found.threshold) > 0).all()
    assert {0.0, 0.5, 1.0} <= set(found.threshold)
    assert len(found.threshold) <= 202
    for index in range(0, len(found.threshold), 13):
        assert_right(found.at(index), sample)
