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
