from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.config.metrics import METRICS, MetricName
from trainer.metrics.compute import compute_metrics

Y = np.array([[1.0], [2.0], [4.0]])
P = np.array([[2.0], [2.0], [1.0]])


def compute(
    name: MetricName,
    y: NDArray[np.float64],
    p: NDArray[np.float64],
    weight: NDArray[np.float64] | None,
) -> float:
    return compute_metrics([name], "regression", y, p, weight, 0.5)[name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mse", 10 / 3),
        ("rmse", math.sqrt(10 / 3)),
        ("mae", 4 / 3),
        ("median_absolute_error", 1.0),
        ("mape", (1 + 0.75) / 3),
        ("r2", 1 - 10 / (14 / 3)),
    ],
)
def test_metric_equals_its_formula(name: MetricName, value: float) -> None:
    assert compute(name, Y, P, None) == pytest.approx(value)


def test_every_regression_metric_has_a_function() -> None:
    for name, info in METRICS.items():
        if "regression" in info.tasks:
            assert compute(name, Y, Y, None) == (1.0 if name == "r2" else 0.0)


def test_columns_are_averaged() -> None:
    y, p = np.hstack([Y, Y]), np.hstack([P, Y])
    assert compute("mae", y, p, None) == pytest.approx(2 / 3)
    assert compute("rmse", y, p, None) == pytest.approx(math.sqrt(10 / 3) / 2)


def test_weighted_median_ignores_rows_without_weight() -> None:
    weight = np.array([1.0, 0.0, 1.0])
    assert compute("median_absolute_error", Y, P, weight) == pytest.approx(2.0)


def test_constant_target() -> None:
    constant = np.ones((3, 1))
    assert compute("r2", constant, constant, None) == 1.0
    assert compute("r2", constant, P, None) == 0.0
    assert math.isnan(compute("r2", Y[:1], P[:1], None))
    weight = np.array([0.1, 0.2, 0.7])
    assert compute("r2", constant / 3, P, weight) == 0.0
