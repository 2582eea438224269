"""The linear model compared with scikit-learn on standardized columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from trainer.assessment import baselines
from trainer.assessment.baselines import fit_linear, fit_prior


def standardized(x: Any, weight: Any = None) -> Any:
    return StandardScaler().fit(x, sample_weight=weight).transform(x)


def oracle(x: Any, classes: Any, weight: Any = None) -> Any:
    x = standardized(x, weight)
    return LogisticRegression(tol=1e-8, max_iter=5_000).fit(x, classes, weight).predict_proba(x)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minimize the loss further than a baseline needs."""
    monkeypatch.setattr(baselines, "TOLERANCE", 1e-6)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("weighted", [False, True])
def test_binary(weighted: bool) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    weight = np.random.default_rng(0).uniform(0, 3, len(y)) if weighted else None
    result = fit_linear("binary", x.astype(np.float32), y[:, None], weight).predict(x)
    assert result[:, 0] == pytest.approx(oracle(x, y, weight)[:, 1], abs=1e-3)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("load", [load_wine, load_digits])
def test_multiclass(load: Any) -> None:
    x, y = load(return_X_y=True)
    x, y = x[:600], y[:600]
    result = fit_linear("multiclass", x.astype(np.float32), np.eye(y.max() + 1)[y]).predict(x)
    assert result == pytest.approx(oracle(x, y), abs=1e-3)
    assert result.sum(axis=1) == pytest.approx(np.ones(len(y)))


@pytest.mark.usefixtures("exact")
def test_starts_from_a_model_of_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The coefficients are the same after fewer evaluations; those of a constant column are 0."""
    x, classes = load_digits(return_X_y=True)
    x, y = x[:600].astype(np.float32), np.eye(10)[classes[:600]]
    x[:500, 20] = 1
    start = fit_linear("multiclass", x[100:], y[100:])
    counts: list[int] = []
    minimize = baselines._minimize

    def counted(loss: Any, point: Any, tolerance: float) -> Any:
        evaluations = []
        solution = minimize(lambda at: evaluations.append(0) or loss(at), point, tolerance)
        counts.append(len(evaluations))
        return solution

    monkeypatch.setattr(baselines, "_minimize", counted)
    alone, warm = (
        fit_linear("multiclass", x[:500], y[:500], None, None, at) for at in (None, start)
    )
    np.testing.assert_allclose(warm.predict(x), alone.predict(x), atol=1e-3)
    assert start.weights[20].any()
    assert not warm.weights[20].any()
    assert counts[1] < counts[0]
    other = fit_linear("multiclass", x[:500, :30], y[:500], None, None, start)
    assert other.weights.shape == (30, 10)
    assert counts[2] > counts[1]


@pytest.mark.usefixtures("exact")
def test_multilabel_columns_are_independent() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 5, (300, 6)).astype(np.float32)
    y = (x @ rng.normal(size=(6, 3)) + rng.normal(0, 9, (300, 3)) > 0).astype(float)
    result = fit_linear("multilabel", x, y).predict(x)
    for k in range(3):
        assert result[:, k] == pytest.approx(oracle(x, y[:, k])[:, 1], abs=1e-3)


def test_default_tolerance_hardly_changes_the_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    losses = []
    for tolerance in (baselines.TOLERANCE, 1e-6):
        monkeypatch.setattr(baselines, "TOLERANCE", tolerance)
        p = fit_linear("binary", x, y[:, None].astype(float)).predict(x)
        losses.append(-np.log(np.where(y == 1, p[:, 0], 1 - p[:, 0])).mean())
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


@pytest.mark.parametrize("rows", [442, 7])
def test_regression(rows: int) -> None:
    x, y = load_diabetes(return_X_y=True)
    x, y = x[:rows], np.stack([y, y**0.5], axis=1)[:rows]
    weight = np.linspace(0.5, 2, rows)
    result = fit_linear("regression", x.astype(np.float32), y, weight).predict(x)
    wide = standardized(x, weight)
    expected = Ridge(alpha=1.0).fit(wide, y, weight).predict(wide)
    assert result == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
def test_degenerate_tables_have_finite_predictions(task: Any) -> None:
    rng = np.random.default_rng(0)
    k = 1 if task == "binary" else 3
    for n, d in ((1, 4), (5, 40), (60, 3)):
        x = rng.normal(1e6, 1e3, (n, d)).astype(np.float32)
        x[:, 0] = 1e30
        # The second column separates the first class perfectly.
        y = np.zeros((n, k))
        y[:, 0] = x[:, 1] > np.median(x[:, 1])
        if task == "multiclass":
            y[:, 1] = 1 - y[:, 0]
        model = fit_linear(task, x, y)
        assert (model.weights[0] == 0).all()
        again = fit_linear(task, x, y)
        assert (again.weights == model.weights).all()
        for rows in (x, 1e4 * x):
            assert np.isfinite(model.predict(rows)).all()


def test_single_class() -> None:
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    assert (fit_linear("binary", x, np.ones((50, 1))).predict(x) > 0.98).all()


def test_no_columns_gives_the_prior() -> None:
    y = np.array([[1.0], [0.0], [0.0], [0.0]])
    result = fit_linear("binary", np.zeros((4, 0), np.float32), y).predict(np.zeros((2, 0)))
    assert result == pytest.approx(np.full((2, 1), 0.25), abs=1e-4)


def test_large_tables_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_ROWS", 200)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1_000, 2)).astype(np.float32)
    y = (x[:, :1] + rng.normal(size=(1_000, 1)) > 0).astype(float)
    model = fit_linear("binary", x, y, np.ones(1_000))
    assert (fit_linear("binary", x, y).weights == model.weights).all()
    assert ((model.predict(x) > 0.5) == (x[:, :1] > 0)).mean() > 0.9


def test_prior() -> None:
    y = np.eye(3)[[0, 0, 1, 2]]
    assert fit_prior(y).tolist() == [0.5, 0.25, 0.25]
    assert fit_prior(np.array([[1.0], [4.0]]), np.array([2.0, 1.0])).tolist() == [2.0]
