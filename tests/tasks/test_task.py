"""Predicted labels match the metrics, and predictions are in the range of the head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.data import Data
from trainer.config.schema import Config
from trainer.data.samples import Samples
from trainer.data.target_fitting import fit_target
from trainer.data.tasks import infer_task
from trainer.metrics.labels import predicted_labels
from trainer.tasks.task import Task, make_task


def task(threshold: float, frame: pl.DataFrame) -> Task:
    data = Data(source="x.csv", target=frame.columns)
    target = fit_target(frame, frame.columns, infer_task(frame), data, ["none"], str)
    config = Config.model_validate(
        {
            "data": {"source": "x.csv", "target": frame.columns},
            "metrics": ["recall"],
            "evaluate": {"threshold": threshold},
        }
    )
    return make_task(config, target)


@pytest.mark.parametrize("width", [1, 2])
@given(threshold=st.floats(0.01, 0.99), steps=st.integers(-2, 2))
def test_labels_match_the_metrics(width: int, threshold: float, steps: int) -> None:
    nearest = np.float32(threshold)
    for _ in range(abs(steps)):
        nearest = np.nextafter(nearest, np.float32(steps))
    frame = pl.DataFrame({f"y{k}": ["yes", "no"] for k in range(width)})
    fitted = task(threshold, frame)
    predictions = np.full((1, width), nearest, np.float32)
    y = np.ones((1, width), np.float32)
    samples = Samples(inputs={}, y=y, weight=None, rows=np.arange(1), unseen=np.zeros(1, bool))
    labels = fitted.predicted_labels(predictions)
    assert fitted.prediction_metrics(predictions, samples)["recall"] == labels.mean()
    expected = predicted_labels(fitted.target.task, predictions.astype(np.float64), threshold)
    np.testing.assert_array_equal(expected, labels.astype(bool))


def regression_task(head: str, values: list[float], scale: str = "none") -> Task:
    frame = pl.DataFrame({"y": values})
    config = Config.model_validate(
        {"data": {"source": "x.csv", "target": "y"}, "model": {"head": head}}
    )
    target = fit_target(frame, ["y"], infer_task(frame), config.data, [scale], str)
    return make_task(config, target)


@pytest.mark.parametrize("head", ["softplus", "exponential"])
def test_outputs_of_positive_heads_are_above_0_and_finite(head: str) -> None:
    outputs = np.array([[0.0], [1e-40], [3.0], [np.inf]], np.float32)
    found = regression_task(head, [0.5, 3.5]).decode_outputs(outputs)
    assert np.isfinite(found).all()
    assert (found > 0).all()
    assert found[2, 0] == 3
    assert np.isnan(
        regression_task(head, [0.5, 3.5]).decode_outputs(np.array([[np.nan]], np.float32))
    ).all()


def quantile_task(scale: str, quantiles: list[float], name: str = "quantile") -> Task:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"y": rng.normal(3, 1, 50).clip(0.1), "z": rng.normal(300, 90, 50).clip(1)}
    )
    config = Config.model_validate(
        {
            "data": {"source": "x.csv", "target": ["y", "z"]},
            "loss": {"name": name, "quantiles": quantiles},
        }
    )
    target = fit_target(frame, ["y", "z"], infer_task(frame), config.data, [scale, "standard"], str)
    return make_task(config, target)


@pytest.mark.parametrize("scale", ["none", "standard", "log", "power"])
def test_quantiles_are_sorted_and_in_the_unit_of_the_target(scale: str) -> None:
    fitted = quantile_task(scale, [0.1, 0.45, 0.9])
    assert fitted.outputs == 6
    outputs = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    decoded = fitted.decode_outputs(outputs)
    by_quantile = np.sort(outputs.reshape(5, 2, 3), axis=2).transpose(2, 0, 1)
    expected = [fitted.target.inverse_transform(values) for values in by_quantile]
    np.testing.assert_array_equal(decoded, np.hstack([expected[1], *expected]))
    np.testing.assert_array_equal(fitted.point_predictions(decoded), expected[1])
    names = [
        "predicted_y", "predicted_y_low", "predicted_y_high",
        "predicted_z", "predicted_z_low", "predicted_z_high",
        "predicted_y_q0.1", "predicted_z_q0.1", "predicted_y_q0.45", "predicted_z_q0.45",
        "predicted_y_q0.9", "predicted_z_q0.9",
    ]  # fmt: skip
    with_intervals = replace(fitted, half_widths=(0.0, 0.0))
    columns = with_intervals.prediction_columns(decoded)
    assert list(columns) == names
    for column in ("y", "z"):
        for end, quantile in (("low", "0.1"), ("high", "0.9")):
            np.testing.assert_allclose(
                columns[f"predicted_{column}_{end}"], columns[f"predicted_{column}_q{quantile}"]
            )
    assert (
        np.diff([columns[f"predicted_y_q{q}"] for q in ("0.1", "0.45", "0.9")], axis=0) >= 0
    ).all()


def test_targets_of_quantiles_are_those_of_their_column() -> None:
    fitted = quantile_task("standard", [0.1, 0.5])
    y = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
    samples = Samples(inputs={}, y=y, weight=None, rows=np.arange(4), unseen=np.zeros(4, bool))
    encoded = fitted.encode_targets(samples)
    np.testing.assert_array_equal(encoded.y, y[:, [0, 0, 1, 1]])
    np.testing.assert_array_equal(
        fitted.decode_targets(encoded.y), fitted.target.inverse_transform(y)
    )


def test_mean_precedes_the_quantiles() -> None:
    fitted = quantile_task("log", [0.1, 0.9], "mean_with_quantiles")
    assert fitted.outputs == 6
    outputs = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    outputs[0, :3] = 0.1, 0.3, -0.2
    decoded = fitted.decode_outputs(outputs)
    by_column = outputs.reshape(5, 2, 3)
    low, high = np.sort(by_column[:, :, 1:], axis=2).transpose(2, 0, 1)
    expected = [
        fitted.target.inverse_transform(values) for values in (by_column[:, :, 0], low, high)
    ]
    np.testing.assert_array_equal(decoded, np.hstack(expected))
    assert fitted.file_columns[2:] == (
        "predicted_y_q0.1", "predicted_z_q0.1", "predicted_y_q0.9", "predicted_z_q0.9",
    )  # fmt: skip
    y = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
    samples = Samples(inputs={}, y=y, weight=None, rows=np.arange(4), unseen=np.zeros(4, bool))
    np.testing.assert_array_equal(fitted.encode_targets(samples).y, np.repeat(y, 3, axis=1))
    # An interval contains the mean, which can be outside the quantiles.
    ends = replace(fitted, half_widths=(-0.4, 0.0)).prediction_intervals(decoded)
    assert (ends[0] <= expected[0]).all()
    assert (expected[0] <= ends[1]).all()


def test_single_quantile_is_the_prediction() -> None:
    fitted = quantile_task("none", [0.9])
    assert (fitted.outputs, fitted.quantiles) == (2, ())
    assert fitted.file_columns == fitted.prediction_names


@pytest.mark.parametrize(
    ("head", "scale", "low", "high"),
    [
        ("linear", "none", -0.3, 0.9),
        ("softplus", "none", 0.0, 0.9),
        ("sigmoid", "none", 0.0, 0.9),
        ("linear", "log", 0.3 / np.exp(0.6), 0.3 * np.exp(0.6)),
    ],
)
def test_intervals_are_clipped_to_the_range_of_the_head(
    head: str, scale: str, low: float, high: float
) -> None:
    fitted = replace(regression_task(head, [0.1, 0.95], scale), half_widths=(0.6,))
    ends = fitted.prediction_intervals(np.array([[0.3]]))
    np.testing.assert_allclose(np.ravel(ends), [low, high])
    ends = fitted.prediction_intervals(np.array([[0.9]]))
    assert ends[1][0, 0] == pytest.approx({"sigmoid": 1.0}.get(head, ends[1][0, 0]))


def test_evaluated_samples_have_predictions_with_their_targets() -> None:
    fitted = task(0.5, pl.DataFrame({"y": ["yes", "no"]}))
    y = np.array([[1.0], [0.0], [1.0]], np.float32)
    samples = Samples(
        inputs={}, y=y, weight=None, rows=np.array([4, 6, 9]), unseen=np.zeros(3, bool)
    )
    evaluated = fitted.evaluated(samples, np.array([[0.9], [0.2], [0.4]]), {"recall": 0.5})
    assert evaluated.predictions is not None
    assert (evaluated.rows, evaluated.metrics, evaluated.texts) == (3, {"recall": 0.5}, None)
    assert evaluated.predictions.rows.tolist() == [4, 6, 9]
    np.testing.assert_array_equal(evaluated.predictions.y, y)
