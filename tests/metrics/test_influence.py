"""Metrics with influences, compared with derivatives and the bootstrap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.metrics.compute import compute_metrics
from trainer.metrics.influence import headline, influence_function

CASES = [
    ("auc", "binary", 1),
    ("auc", "multilabel", 3),
    ("accuracy", "binary", 1),
    ("accuracy", "multilabel", 3),
    ("accuracy", "multiclass", 4),
    ("r2", "regression", 2),
    ("rmse", "regression", 2),
]


def draw(task, columns, rows, seed):
    """Return random targets, predictions with ties, and weights."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        y = rng.normal(size=(rows, columns))
        return y, y + rng.normal(size=(rows, columns)), rng.uniform(0.5, 2, rows)
    if task == "multiclass":
        y = np.eye(columns)[rng.integers(columns, size=rows)]
        raw = rng.random((rows, columns)) + y
        return y, raw / raw.sum(axis=1, keepdims=True), rng.uniform(0.5, 2, rows)
    y = (rng.random((rows, columns)) < 0.4).astype(float)
    y[:2] = [[0] * columns, [1] * columns]
    p = np.round(np.clip(0.3 * y + 0.7 * rng.random((rows, columns)), 0, 1), 1)
    return y, p, rng.uniform(0.5, 2, rows)


@pytest.mark.parametrize(("name", "task", "columns"), CASES)
@given(rows=st.integers(4, 40), seed=st.integers(0, 1000), weighted=st.booleans())
@settings(max_examples=25, deadline=None)
def test_values_match_the_metrics(name, task, columns, rows, seed, weighted):
    y, p, weight = draw(task, columns, rows, seed)
    weight = weight if weighted else None
    result = influence_function(name, task, y, p, weight)
    assert result.value == pytest.approx(compute_metrics([name], task, y, p, weight, 0.5)[name])
    assert result.influence.sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("name", "task", "columns"), CASES)
def test_influences_are_weighted_derivatives(name, task, columns):
    y, p, weight = draw(task, columns, 12, seed=3)
    result = influence_function(name, task, y, p, weight)
    for row in range(12):
        step = np.zeros(12)
        step[row] = 1e-5
        up, down = (
            influence_function(name, task, y, p, weight + delta).value for delta in (step, -step)
        )
        assert result.influence[row] == pytest.approx(weight[row] * (up - down) / 2e-5, abs=1e-7)


@pytest.mark.parametrize(("name", "task", "columns"), CASES)
def test_influences_estimate_the_bootstrap_std(name, task, columns):
    y, p, _ = draw(task, columns, 300, seed=5)
    rng = np.random.default_rng(0)
    values = [
        influence_function(name, task, y[rows], p[rows], None).value
        for rows in rng.integers(300, size=(600, 300))
    ]
    result = influence_function(name, task, y, p, None)
    assert np.sqrt(np.square(result.influence).sum()) == pytest.approx(np.std(values), rel=0.12)


def test_headline_of_each_task():
    both_classes, one_class = np.array([[0.0], [1.0]]), np.array([[1.0], [1.0]])
    assert headline("binary", both_classes, None) == "auc"
    assert headline("binary", one_class, None) == "accuracy"
    assert headline("binary", both_classes, np.array([0.0, 1.0])) == "accuracy"
    assert headline("multiclass", np.eye(2), None) == "accuracy"
    assert headline("multilabel", np.eye(2), None) == "auc"
    assert headline("multilabel", np.eye(11), None) == "accuracy"
    assert headline("multilabel", np.array([[0.0, 1.0], [1.0, 1.0]]), None) == "accuracy"
    assert headline("regression", both_classes, None) == "r2"
    assert headline("regression", one_class, None) == "rmse"
    assert headline("regression", both_classes[:1], None) == "rmse"


def test_non_finite_predictions_give_nan():
    result = influence_function(
        "auc", "binary", np.array([[0.0], [1.0]]), np.array([[0.5], [np.nan]]), None
    )
    assert np.isnan(result.value)
    assert np.isnan(result.influence).all()
