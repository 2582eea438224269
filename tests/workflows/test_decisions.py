"""What is chosen on the validation rows is written, read, and used for every row after."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tests.workflows.conftest import run_fit
from trainer.config.schema import Evaluate
from trainer.data.targets import FittedTarget
from trainer.errors import RunError
from trainer.evaluation.predictions import Predictions
from trainer.report.predictions import read_split_predictions
from trainer.runs.decisions import Decisions, read_decisions, write_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_json
from trainer.workflows.decisions import choose_decisions, with_decisions
from trainer.workflows.evaluate import evaluate
from trainer.workflows.predict import predict
from trainer.workflows.task import Task
from trainer.workflows.trained_runs import open_trained

DRAW = np.random.default_rng(2)
ROWS = 400


def asked(finished: Any) -> Task:
    return replace(open_trained(finished.run).task, threshold=0.5)


def answers() -> Predictions:
    y = (DRAW.random((ROWS, 1)) < 0.3).astype(np.float64)
    p = np.clip(0.25 * y + 0.6 * DRAW.random((ROWS, 1)), 0, 1).astype(np.float32)
    return Predictions("binary", ("no", "yes"), y, p, np.arange(ROWS))


def test_nothing_is_chosen_unless_asked(finished: Any) -> None:
    assert choose_decisions(Evaluate(), asked(finished), answers()) == Decisions()


def test_a_threshold_is_the_best_of_all(finished: Any) -> None:
    given = answers()
    settings = Evaluate.model_validate({"threshold": "f1"})
    decisions = choose_decisions(settings, asked(finished), given)
    truth = given.y[:, 0]
    best = max(f1_score(truth, given.p[:, 0] >= at) for at in np.unique(given.p))
    assert decisions.achieved["f1"] == pytest.approx(best)
    assert f1_score(truth, given.p[:, 0] >= decisions.threshold) == pytest.approx(best)
    assert with_decisions(asked(finished), decisions).threshold == decisions.threshold


def test_a_precision_nobody_reaches_is_told(finished: Any) -> None:
    given = answers()
    given = replace(given, p=1 - given.p)
    settings = Evaluate.model_validate(
        {"threshold": {"criterion": "precision", "min_precision": 0.99}}
    )
    decisions = choose_decisions(settings, asked(finished), given)
    assert decisions.threshold == 0.5
    assert decisions.note.startswith("no threshold reaches a precision of 0.99")


def test_numbers_get_intervals(finished: Any) -> None:
    y = DRAW.normal(size=(99, 1))
    given = Predictions("regression", ("m",), y, np.zeros((99, 1)), np.arange(99))
    target = FittedTarget(
        task="regression", reason="", columns=("m",), classes=(), rows=9, class_counts=(),
        prior=(0.0,), offset=(0.0,), scale=(1.0,),
    )  # fmt: skip
    task = replace(asked(finished), target=target)
    decisions = choose_decisions(Evaluate(prediction_interval=0.8), task, given)
    assert decisions.half_widths["m"] == pytest.approx(np.sort(np.abs(y[:, 0]))[79])
    few = choose_decisions(Evaluate(prediction_interval=0.99), task, given.take(np.arange(50)))
    assert not few.half_widths
    assert "50 validation rows are too few to cover 99%" in few.note


def test_they_come_back(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert read_decisions(run) is None
    given = Decisions(0.3, "f1", {"f1": 0.5}, 1.5, 0.9, {"m": 2.0}, "told", "/runs/x")
    write_decisions(run, given)
    assert read_decisions(run) == given
    former = read_json(run.decisions)
    del former["source"]  # as runs of 0.1.0 have it
    run.decisions.write_text(json.dumps(former))
    assert read_decisions(run) == replace(given, source=None)
    run.decisions.write_text('{"threshold": "high"}')
    with pytest.raises(RunError, match=r"decisions\.json"):
        read_decisions(run)


def test_those_of_another_run_are_used_as_they_are(finished: Any) -> None:
    taken = Decisions(0.3, "f1", {}, 1.5, source="/runs/x")
    assert choose_decisions(Evaluate(), asked(finished), None, taken) == taken
    assert choose_decisions(Evaluate(calibrate=True), asked(finished), answers(), taken) == taken


def test_predictions_that_are_not_finite_are_reported(finished: Any) -> None:
    given = answers()
    given = replace(given, p=np.full_like(given.p, np.nan))
    decisions = choose_decisions(Evaluate(calibrate=True), asked(finished), given)
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
            Decisions(coverage=0.9, half_widths={"m": np.log(3.0), "k": 2}, curves={"m": "log"}),
            "90% intervals (m multiplied or divided by 3, k ± 2)",
        ),
    ],
)
def test_decisions_in_a_phrase(decisions: Decisions, text: str) -> None:
    assert decisions.summary() == text


def test_a_run_uses_them(small: Path, tmp_path: Path) -> None:
    done = run_fit(small, tmp_path / "runs", "evaluate={threshold: youden, calibrate: true}")
    run = RunDirectory(done.run)
    decisions = read_decisions(run)
    assert decisions is not None
    assert decisions.criterion == "youden"
    assert decisions.temperature != 1
    opened = open_trained(done.run)
    assert opened.task.threshold == decisions.threshold
    (again,) = evaluate(
        done.run, splits=("test",), data=None, device="cpu", allow_custom=False
    ).results
    assert again.metrics == pytest.approx(done.metrics["test"], rel=1e-6)
    kept = read_split_predictions(run, "test", "binary", ("no", "yes"), ["probability_yes"])
    assert kept is not None
    table = done.run.parents[2] / "small.csv"
    frame = predict(done.run, table, keep=(), device="cpu", allow_custom=False).frame
    np.testing.assert_allclose(
        frame["probability_yes"].to_numpy()[kept.rows], kept.p[:, 0], rtol=1e-5
    )
    called = frame["probability_yes"].to_numpy() >= decisions.threshold
    assert frame["label"].to_list() == ["yes" if yes else "no" for yes in called]
    # The manifest's metrics are those of the threshold.
    assert read_json(run.evaluation / "test.json")["metrics"]["accuracy"] == pytest.approx(
        np.mean((kept.p[:, 0] >= decisions.threshold) == (kept.y[:, 0] > 0.5))
    )
