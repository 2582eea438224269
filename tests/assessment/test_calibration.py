from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve

from tests.metrics.samples import random_predictions, samples
from trainer.assessment import calibration
from trainer.assessment.calibration import (
    Strategy,
    calibration_error,
    fit_temperature,
    reliability_curve,
    top_class,
)
from trainer.metrics.activations import apply_temperature
from trainer.metrics.compute import compute_metrics
from trainer.metrics.predictions import Predictions


def loss_at(sample: Predictions, temperature: float) -> float:
    p = apply_temperature(sample.task, sample.p, temperature)
    result = compute_metrics(["log_loss"], sample.task, sample.y, p, sample.weight, 0.5)
    return result["log_loss"]


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_curve_matches_sklearn(strategy: str) -> None:
    sample = random_predictions("binary", 500, 0)
    y, p = sample.y[:, 0], sample.p[:, 0]
    result = reliability_curve(y, p, strategy=strategy, bins=10)  # type: ignore[arg-type]
    observed, predicted = calibration_curve(y, p, n_bins=10, strategy=strategy)
    assert result.observed == pytest.approx(observed)
    assert result.predicted == pytest.approx(predicted)
    assert result.count.sum() == 500
    assert (result.low <= result.predicted).all()
    assert (result.predicted <= result.high).all()
    assert (result.observed_low <= result.observed).all()
    assert (result.observed <= result.observed_high).all()
    if strategy == "quantile":
        assert set(result.count) == {50}


@settings(max_examples=60, deadline=None)
@given(samples("binary"), st.sampled_from(["uniform", "quantile"]), st.integers(1, 20))
def test_error_is_the_mean_gap_of_the_curve(sample: Predictions, strategy: str, bins: int) -> None:
    y, p, w = sample.y[:, 0], sample.p[:, 0], sample.weights()
    curve = reliability_curve(y, p, strategy=strategy, bins=bins, weight=w)  # type: ignore[arg-type]
    edges = np.append(curve.low, curve.high[-1])
    mass = [w[np.searchsorted(edges, p, "right").clip(1, len(curve.low)) == k + 1].sum()
            for k in range(len(curve.low))]  # fmt: skip
    result = calibration_error(
        "binary",
        sample.y,
        sample.p,
        strategy=strategy,  # type: ignore[arg-type]
        bins=bins,
        weight=w,
    )
    assert result == pytest.approx(
        np.average(np.abs(curve.predicted - curve.observed), weights=mass)
    )


def test_multiclass_uses_the_top_class() -> None:
    sample = random_predictions("multiclass", 200, 0)
    correct, predicted = top_class(sample.y, sample.p)
    assert correct.mean() == (sample.y.argmax(1) == sample.p.argmax(1)).mean()
    assert (predicted == sample.p.max(axis=1)).all()
    assert calibration_error("multiclass", sample.y, sample.p) == pytest.approx(
        calibration_error("binary", correct[:, None], predicted[:, None])
    )


def test_calibrated_predictions_have_a_small_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((50_000, 1))
    y = (rng.random(p.shape) < p).astype(float)
    assert calibration_error("binary", y, p) < 0.01
    assert calibration_error("binary", y, p**3) > 0.1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_error_of_blocks_is_that_of_all_rows(
    strategy: Strategy, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = random_predictions("multilabel", 300, 2)
    weight = np.random.default_rng(0).random(300) if weighted else None

    def error() -> float:
        return calibration_error(sample.task, sample.y, sample.p, strategy=strategy, weight=weight)

    expected = error()
    monkeypatch.setattr(calibration, "BLOCK_ROWS", 70)
    assert error() == expected


def test_no_rows() -> None:
    nothing = np.zeros((0, 1))
    assert np.isnan(calibration_error("binary", nothing, nothing))
    assert len(reliability_curve(nothing[:, 0], nothing[:, 0], strategy="quantile").observed) == 0
    assert fit_temperature("binary", nothing, nothing) == 1


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["binary", "multiclass", "multilabel"]).flatmap(samples))
def test_fitted_temperature_is_optimal(sample: Predictions) -> None:
    result = fit_temperature(sample.task, sample.y, sample.p, sample.weight)
    least = minimize_scalar(
        lambda log: loss_at(sample, np.exp(log)),
        bounds=(np.log(0.05), np.log(20)),
        method="bounded",
    ).fun
    assert 0.05 <= result <= 20
    assert loss_at(sample, result) <= least + 1e-6


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("sharper", [0.4, 1.0, 3.0])
def test_wrong_temperature_is_corrected(task: str, sharper: float) -> None:
    sample = random_predictions(task, 4_000, 0)
    best = fit_temperature(sample.task, sample.y, sample.p)
    wrong = apply_temperature(sample.task, sample.p, 1 / sharper)
    assert fit_temperature(sample.task, sample.y, wrong) == pytest.approx(best * sharper, rel=1e-6)
    assert apply_temperature(sample.task, wrong, sharper) == pytest.approx(sample.p)


def test_extreme_probabilities_stay_finite() -> None:
    for dtype in (np.float32, np.float64):
        p = np.array([[0.0], [1.0], [1.0]], dtype)
        result = fit_temperature("binary", np.array([[0.0], [1.0], [0.0]]), p)
        assert np.isfinite(apply_temperature("binary", p, result)).all()
    assert fit_temperature("binary", np.array([[0.0], [1.0]]), np.array([[0.1], [0.9]])) == 0.05
    assert fit_temperature("binary", np.array([[1.0], [0.0]]), np.array([[0.1], [0.9]])) == 20
    assert fit_temperature("multiclass", np.eye(2), np.full((2, 2), 0.5)) == 1
