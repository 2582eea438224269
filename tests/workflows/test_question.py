"""Labels are those that the metrics count."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.data import Data
from trainer.config.schema import Config
from trainer.data.samples import Samples
from trainer.data.targets import fit_target
from trainer.data.tasks import infer_task
from trainer.evaluation.labels import call
from trainer.workflows.question import Question, ask


def question(threshold: float, frame: pl.DataFrame) -> Question:
    data = Data(source="x.csv", target=frame.columns)
    target = fit_target(frame, frame.columns, infer_task(frame), data, ["none"], str)
    config = Config.model_validate(
        {
            "data": {"source": "x.csv", "target": frame.columns},
            "metrics": ["recall"],
            "evaluate": {"threshold": threshold},
        }
    )
    return ask(config, target)


@pytest.mark.parametrize("width", [1, 2])
@given(threshold=st.floats(0.01, 0.99), steps=st.integers(-2, 2))
def test_labels_are_those_that_metrics_count(width: int, threshold: float, steps: int) -> None:
    nearest = np.float32(threshold)
    for _ in range(abs(steps)):
        nearest = np.nextafter(nearest, np.float32(steps))
    frame = pl.DataFrame({f"y{k}": ["yes", "no"] for k in range(width)})
    asked = question(threshold, frame)
    answers = np.full((1, width), nearest, np.float32)
    y = np.ones((1, width), np.float32)
    samples = Samples(x=y, y=y, weight=None, rows=np.arange(1), unseen=np.zeros(1, bool))
    labels = asked.labels(answers)
    assert asked.measure_answers(answers, samples)["recall"] == labels.mean()
    called = call(asked.target.task, answers.astype(np.float64), threshold)
    np.testing.assert_array_equal(called, labels.astype(bool))
