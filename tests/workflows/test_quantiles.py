"""Prediction intervals that adapt to the row: quantiles, calibrated on the validation rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.workflows.conftest import evaluate_run, predict_table, run_fit, run_members
from trainer.errors import RunError
from trainer.report.decisions import read_decision_summary
from trainer.runs.directory import RunDirectory
from trainer.workflows.events import RunFinished

CONFIG = """\
data: {source: noise.csv, target: y, split: {test: 0.4, validation: 0.2}}
model: {layers: [{dense: {units: 24, activation: relu}}]}
optimizer: {name: adam, learning_rate: 0.02}
fit: {epochs: 20, batch_size: 64}
evaluate: {importance: false, resamples: 100}
"""
LEVELS = (0.05, 0.5, 0.95)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise that grows with |b|; the mean depends on a alone."""
    folder = tmp_path_factory.mktemp("quantiles")
    rng = np.random.default_rng(5)
    a, b = rng.uniform(-1, 1, (2, 3_000))
    y = 200 + 30 * a + (2 + 30 * np.abs(b)) * rng.normal(size=3_000)
    pl.DataFrame({"a": a, "b": b, "y": y}).write_csv(folder / "noise.csv")
    (folder / "config.yaml").write_text(CONFIG)
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def adaptive(config: Path) -> RunFinished:
    return run_fit(config, config.parent / "adaptive", "loss=quantile")


def read(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text())


def quantiles(run: Path, split: str) -> pl.DataFrame:
    return pl.read_parquet(run / "predictions" / f"{split}.parquet")


def covered_by_noise(run: Path, table: Path) -> np.ndarray:
    """Return the share of test rows inside their intervals, by fifths of |b|."""
    rows = quantiles(run, "test")["row"].to_numpy()
    frame = pl.read_csv(table)
    predicted = predict_table(run, table).frame
    inside = (frame["y"] >= predicted["predicted_y_low"]) & (
        frame["y"] <= predicted["predicted_y_high"]
    )
    part = np.minimum((np.abs(frame["b"].to_numpy()) * 5).astype(int), 4)[rows]
    return np.array([inside.to_numpy()[rows][part == number].mean() for number in range(5)])


def test_coverage_holds_for_quiet_and_noisy_rows(adaptive: RunFinished, config: Path) -> None:
    table = config.with_name("noise.csv")
    constant = run_fit(config, config.parent / "constant", "evaluate.report=false")
    shares = {run: covered_by_noise(run, table) for run in (adaptive.run, constant.run)}
    for share in shares.values():
        assert share.mean() == pytest.approx(0.9, abs=0.04)
    # One width covers all quiet rows and too few noisy ones.
    assert shares[constant.run][0] > 0.99
    assert shares[constant.run][-1] < 0.8
    assert np.abs(shares[adaptive.run] - 0.9).max() < 0.08


def test_quantiles_are_moved_by_the_distances_of_validation_rows(adaptive: RunFinished) -> None:
    validation = quantiles(adaptive.run, "validation")
    low, center, high = (validation[f"predicted_y_q{level:g}"].to_numpy() for level in LEVELS)
    assert ((low <= center) & (center <= high)).all()
    np.testing.assert_array_equal(validation["predicted_y"], center)
    y = validation["actual_y"].to_numpy()
    distances = np.sort(np.maximum(low - y, y - high))
    decisions = read(adaptive.run, "decisions.json")
    assert decisions["half_widths"]["y"] == distances[int(np.ceil(0.9 * (len(y) + 1))) - 1]
    assert decisions["quantiles"] == [0.05, 0.95]
    (line,) = read_decision_summary(RunDirectory(adaptive.run)).decisions
    assert line.startswith("90% prediction intervals: y quantiles 0.05 and 0.95, extended by ")
    test = quantiles(adaptive.run, "test")
    moved = decisions["half_widths"]["y"]
    inside = (test["actual_y"] >= test["predicted_y_q0.05"] - moved) & (
        test["actual_y"] <= test["predicted_y_q0.95"] + moved
    )
    coverage = read(adaptive.run, "findings.json")["splits"]["test"]["interval_coverage"]["y"]
    assert coverage["value"] == pytest.approx(inside.mean())
    text = (adaptive.run / "report.html").read_text(encoding="utf-8")
    assert "quantiles 0.05 and 0.95, extended by" in text


def test_evaluation_and_predictions_agree(adaptive: RunFinished, config: Path) -> None:
    (result,) = evaluate_run(adaptive.run, "test").results
    for name in ("loss", "rmse", "mae", "r2"):
        assert result.metrics[name] == pytest.approx(adaptive.metrics["test"][name], rel=1e-5)
    test = quantiles(adaptive.run, "test")
    predicted = predict_table(adaptive.run, config.with_name("noise.csv")).frame[test["row"]]
    for name in ("predicted_y", *(f"predicted_y_q{level:g}" for level in LEVELS)):
        np.testing.assert_allclose(predicted[name], test[name], rtol=1e-5)
    # The loss is the pinball loss of the scaled target, averaged over the quantiles.
    fitted = read(adaptive.run, "preprocessing.json")["target"]
    errors = [test["actual_y"] - test[f"predicted_y_q{level:g}"] for level in LEVELS]
    losses = [
        np.maximum(level * error, (level - 1) * error).mean()
        for level, error in zip(LEVELS, (error.to_numpy() for error in errors), strict=True)
    ]
    expected = np.mean(losses) / fitted["scale"][0]
    assert adaptive.metrics["test"]["loss"] == pytest.approx(expected, rel=1e-4)


def test_decisions_of_a_run_with_other_intervals_are_refused(
    adaptive: RunFinished, config: Path
) -> None:
    with pytest.raises(RunError, match=r"the prediction, found .* quantiles 0\.05 and 0\.95"):
        run_fit(
            config,
            config.parent / "refused",
            f"evaluate.decisions_from={adaptive.run}",
            "data.split.validation=0",
        )


def test_mean_is_predicted_beside_the_quantiles(config: Path) -> None:
    loss = "loss={name: mean_with_quantiles, quantiles: [0.05, 0.95]}"
    run = run_fit(config, config.parent / "mean", loss, "evaluate.report=false").run
    test = quantiles(run, "test")
    shares = covered_by_noise(run, config.with_name("noise.csv"))
    assert np.abs(shares - 0.9).max() < 0.08
    # The noise is symmetric: the mean is between the quantiles, and no other output's.
    low, mean, high = (test[f"predicted_y{end}"].to_numpy() for end in ("_q0.05", "", "_q0.95"))
    assert ((low < mean) & (mean < high)).mean() > 0.99
    assert np.sqrt(np.mean((test["actual_y"].to_numpy() - mean) ** 2)) < 24


@pytest.mark.slow
def test_folds_are_averaged_and_calibrated_out_of_fold(config: Path) -> None:
    result = run_members(
        config, config.parent / "folds", "loss=quantile", "fit={folds: 3, epochs: 4}"
    )
    test = quantiles(result.run, "test")
    members = [quantiles(path, "test") for path in sorted((result.run / "members").iterdir())]
    for level in LEVELS:
        name = f"predicted_y_q{level:g}"
        mean = np.mean([member[name].to_numpy() for member in members], axis=0)
        np.testing.assert_allclose(test[name], mean)
    out_of_fold = quantiles(result.run, "out_of_fold")
    low, high = (out_of_fold[f"predicted_y_q{level:g}"].to_numpy() for level in (0.05, 0.95))
    y = out_of_fold["y"].cast(pl.Float64).to_numpy()
    distances = np.sort(np.maximum(low - y, y - high))
    half = read(result.run, "decisions.json")["half_widths"]["y"]
    assert half == pytest.approx(distances[int(np.ceil(0.9 * (len(y) + 1))) - 1])
    predicted = predict_table(result.run, config.with_name("noise.csv")).frame[test["row"]]
    np.testing.assert_allclose(predicted["predicted_y_q0.95"], test["predicted_y_q0.95"], rtol=1e-5)
    np.testing.assert_allclose(
        predicted["predicted_y_high"], test["predicted_y_q0.95"] + half, rtol=1e-5
    )
