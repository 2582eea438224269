"""Decisions are made on the validation rows, written, read and applied to all other rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.workflows.conftest import evaluate_run, predict_table
from trainer.assessment.decisions import choose_decisions
from trainer.config.schema import Evaluate
from trainer.data.targets import FittedTarget
from trainer.errors import RunError
from trainer.metrics.predictions import Predictions
from trainer.prediction.trained_runs import open_trained
from trainer.report.predictions import read_split_predictions
from trainer.runs.decisions import Decisions, read_decisions, write_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_json
from trainer.tasks.task import Task

ROWS = 400


def task_of(finished: Any) -> Task:
    return replace(open_trained(finished.run).task, threshold=0.5)


def draw_predictions() -> Predictions:
    rng = np.random.default_rng(2)
    y = (rng.random((ROWS, 1)) < 0.3).astype(np.float64)
    p = np.clip(0.25 * y + 0.6 * rng.random((ROWS, 1)), 0, 1).astype(np.float32)
    return Predictions("binary", ("no", "yes"), y, p, np.arange(ROWS))


def test_nothing_is_chosen_by_default(finished: Any) -> None:
    assert choose_decisions(Evaluate(), task_of(finished), draw_predictions()) == Decisions()


def test_threshold_maximizes_f1(finished: Any) -> None:
    predictions = draw_predictions()
    settings = Evaluate.model_validate({"threshold": "f1"})
    decisions = choose_decisions(settings, task_of(finished), predictions)
    truth = predictions.y[:, 0]
    best = max(f1_score(truth, predictions.p[:, 0] >= at) for at in np.unique(predictions.p))
    assert decisions.achieved["f1"] == pytest.approx(best)
    assert f1_score(truth, predictions.p[:, 0] >= decisions.threshold) == pytest.approx(best)
    assert task_of(finished).with_decisions(decisions).threshold == decisions.threshold


def test_unreachable_precision_is_noted(finished: Any) -> None:
    predictions = draw_predictions()
    predictions = replace(predictions, p=1 - predictions.p)
    settings = Evaluate.model_validate(
        {"threshold": {"criterion": "precision", "min_precision": 0.99}}
    )
    decisions = choose_decisions(settings, task_of(finished), predictions)
    assert decisions.threshold == 0.5
    assert decisions.note.startswith("no threshold reaches a precision of 0.99")


def test_regression_gets_prediction_intervals(finished: Any) -> None:
    y = np.random.default_rng(2).normal(size=(99, 1))
    predictions = Predictions("regression", ("m",), y, np.zeros((99, 1)), np.arange(99))
    target = FittedTarget(
        task="regression", reason="", columns=("m",), classes=(), rows=9, class_counts=(),
        prior=(0.0,), offset=(0.0,), scale=(1.0,),
    )  # fmt: skip
    task = replace(task_of(finished), target=target)
    decisions = choose_decisions(Evaluate(prediction_interval=0.8), task, predictions)
    assert decisions.half_widths["m"] == pytest.approx(np.sort(np.abs(y[:, 0]))[79])
    few = choose_decisions(
        Evaluate(prediction_interval=0.99), task, predictions.take(np.arange(50))
    )
    assert not few.half_widths
    assert "50 validation rows are too few for 99% coverage" in few.note


def test_decisions_are_read_as_written(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert read_decisions(run) is None
    predictions = Decisions(0.3, "f1", {"f1": 0.5}, 1.5, 0.9, {"m": 2.0}, "a note", "/runs/x")
    write_decisions(run, predictions)
    assert read_decisions(run) == predictions
    old = read_json(run.decisions)
    del old["source"]  # runs of 0.1.0 do not have it
    run.decisions.write_text(json.dumps(old))
    assert read_decisions(run) == replace(predictions, source=None)
    run.decisions.write_text('{"threshold": "high"}')
    with pytest.raises(RunError, match=r"decisions\.json"):
        read_decisions(run)


def test_inherited_decisions_are_used_unchanged(finished: Any) -> None:
    inherited = Decisions(0.3, "f1", {}, 1.5, source="/runs/x")
    assert choose_decisions(Evaluate(), task_of(finished), None, inherited) == inherited
    assert (
        choose_decisions(Evaluate(calibrate=True), task_of(finished), draw_predictions(), inherited)
        == inherited
    )


def test_nonfinite_predictions_are_noted(finished: Any) -> None:
    predictions = draw_predictions()
    predictions = replace(predictions, p=np.full_like(predictions.p, np.nan))
    decisions = choose_decisions(Evaluate(calibrate=True), task_of(finished), predictions)
    assert "not finite" in decisions.note


@pytest.mark.parametrize(
    ("decisions", "text"),
    [
        (Decisions(), ""),
        (Decisions(0.25), "threshold 0.25"),
        (
            Decisions(0.25, "f1", {"f1": 0.9}, 1.5),
            "threshold 0.25 (chosen for f1), temperature 1.5",
        ),
        (Decisions(coverage=0.9, half_widths={"m": 2.0}), "90% intervals (m ± 2)"),
        (
            Decisions(
                coverage=0.9, half_widths={"m": np.log(3.0), "k": 2}, target_scales={"m": "log"}
            ),
            "90% intervals (m multiplied or divided by 3, k ± 2)",
        ),
    ],
)
def test_summary(decisions: Decisions, text: str) -> None:
    assert decisions.summary() == text


def test_decisions_apply_to_evaluation_and_prediction(trained: Any) -> None:
    result = trained("evaluate={threshold: youden, calibrate: true, report: false}")
    run = RunDirectory(result.run)
    decisions = read_decisions(run)
    assert decisions is not None
    assert decisions.criterion == "youden"
    assert decisions.temperature != 1
    assert open_trained(result.run).task.threshold == decisions.threshold
    (evaluation,) = evaluate_run(result.run, "test").results
    assert evaluation.metrics == pytest.approx(result.metrics["test"], rel=1e-6)
    saved = read_split_predictions(run, "test", "binary", ("no", "yes"), ["probability_yes"])
    assert saved is not None
    frame = predict_table(result.run, result.run.parents[2] / "small.csv").frame
    p = frame["probability_yes"].to_numpy()
    np.testing.assert_allclose(p[saved.rows], saved.p[:, 0], rtol=1e-5)
    is_yes = p >= decisions.threshold
    assert frame["label"].to_list() == ["yes" if yes else "no" for yes in is_yes]
    # The metrics are computed with the threshold.
    assert read_json(run.evaluation / "test.json")["metrics"]["accuracy"] == pytest.approx(
        np.mean((saved.p[:, 0] >= decisions.threshold) == (saved.y[:, 0] > 0.5))
    )
