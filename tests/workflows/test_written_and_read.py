"""Files round-trip for any predictions and any names of classes and columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.assessment.bootstrap import bootstrap, paired_bootstrap
from trainer.assessment.decisions import choose_decisions
from trainer.assessment.findings import _defined_metrics, _differences, _metric_values
from trainer.assessment.resampling import Resampling
from trainer.config.losses import Loss
from trainer.config.schema import Evaluate
from trainer.config.task_rules import TASK_RULES
from trainer.data.out_of_fold import out_of_fold_names
from trainer.data.targets import FittedTarget
from trainer.metrics.evaluator import compute_all_metrics
from trainer.metrics.predictions import Predictions
from trainer.report.predictions import (
    predictions_to_parquet,
    read_split_predictions,
)
from trainer.runs.decisions import Decisions, read_decisions, write_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Evaluation, Interval
from trainer.runs.findings import (
    Findings,
    MetricValue,
    NamedSlices,
    SliceRecord,
    SplitFindings,
    WorstRow,
    WorstSlices,
    read_findings,
    write_findings,
)
from trainer.task_names import TaskName
from trainer.tasks.registry import get_task_kind
from trainer.tasks.task import Task

HARD_NAMES = (
    "a,b", 'say "x"', "🙂", "new\nline", "1", "1.0", "nan", "null", "", " ", "row", "weight", "group",
    "actual", "label", "probability_x", "x", "x_low", "x_high", "x_std", "x/f1", "unseen",
    "\x00", "é",
)  # fmt: skip
NAMES = st.sampled_from(HARD_NAMES) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def any_predictions(draw: st.DrawFn) -> Predictions:
    """Draw predictions of any task, including a single row, a single class, NaN and infinity."""
    task: TaskName = draw(st.sampled_from(["binary", "multiclass", "multilabel", "regression"]))
    least = {"binary": 2, "multiclass": 3, "multilabel": 2, "regression": 1}[task]
    most = 2 if task == "binary" else 5
    names = tuple(draw(st.lists(NAMES, min_size=least, max_size=most, unique=True)))
    rows = draw(st.integers(1, 6))
    width = 1 if task == "binary" else len(names)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    only_one = draw(st.booleans())
    if task == "regression":
        y = np.full((rows, width), 3.0) if only_one else rng.normal(size=(rows, width)) * 1e6
        p = y + rng.normal(size=y.shape)
    else:
        classes = np.zeros(rows, int) if only_one else rng.integers(0, max(2, width), rows)
        y = np.eye(width)[classes] if task == "multiclass" else rng.integers(0, 2, (rows, width))
        if task == "binary":
            y = classes[:, None]
        p = rng.random((rows, width)).astype(np.float32)
        if task == "multiclass":
            p /= p.sum(axis=1, keepdims=True)
    bad = draw(st.sampled_from([None, np.nan, np.inf]))
    if bad is not None:
        p[0, 0] = bad
    weight = rng.random(rows) + 0.1 if draw(st.booleans()) else None
    return Predictions(task, names, y.astype(np.float64), p, rng.permutation(rows), weight)


def run_in(folder: Path) -> RunDirectory:
    return RunDirectory(folder)


@SETTINGS
@given(predictions=any_predictions())
def test_predictions(tmp_path: Path, predictions: Predictions) -> None:
    run, task, names = run_in(tmp_path), predictions.task, predictions.names
    columns = get_task_kind(task).prediction_names(names)
    run.write_predictions("test.parquet", predictions_to_parquet(predictions, columns))
    found = read_split_predictions(run, "test", task, names, columns)
    assert found is not None
    assert found.names == names
    for one in ("y", "p", "rows", "weight"):
        np.testing.assert_array_equal(getattr(found, one), getattr(predictions, one))
    assert found.p.dtype == predictions.p.dtype


@SETTINGS
@given(
    predictions=any_predictions(), sentence=NAMES, levels=st.dictionaries(NAMES, NAMES, max_size=2)
)
def test_findings(
    tmp_path: Path, predictions: Predictions, sentence: str, levels: dict[str, str]
) -> None:
    task, names = predictions.task, predictions.names
    other = replace(predictions, p=np.roll(predictions.p, 1, axis=0))
    over = _differences(
        paired_bootstrap(
            predictions, other, names=TASK_RULES[task].compared_metrics, resampling=Resampling(20)
        )
    )
    value = MetricValue.from_floats(float(predictions.p[0, 0]), np.nan, np.inf)
    part = SliceRecord(levels, 3, value.value, value.low, value.high, None)
    y = predictions.y[0].tolist()
    actual = names[0] if task in {"binary", "multiclass"} else tuple(y)
    findings = Findings(
        task=task,
        names=names,
        confidence_level=0.95,
        sentence=sentence,
        splits={
            "test": SplitFindings(
                rows=len(predictions),
                metrics=_metric_values(bootstrap(predictions, resampling=Resampling(20))),
                prior=_defined_metrics(compute_all_metrics(other)),
                linear=_defined_metrics(compute_all_metrics(other)),
                vs_prior=over,
                vs_linear=over,
                interval_coverage=_metric_values({}),
            )
        },
        compared_metrics=TASK_RULES[task].compared_metrics,
        slices=NamedSlices("rmse", value.value, (part,)),
        worst_slices=WorstSlices("rmse", None, (part, part), 7),
        worst_rows=(WorstRow(0, actual, tuple([value.value] * len(y)), value.value),),
    )
    run = run_in(tmp_path)
    write_findings(run, findings)
    assert read_findings(run) == findings


def task_of(predictions: Predictions) -> Task:
    is_class = predictions.task in {"binary", "multiclass"}
    names = predictions.names
    target = FittedTarget.model_construct(
        task=predictions.task,
        columns=("y",) if is_class else names,
        classes=names if is_class else (),
        offset=(0.0,) * len(names),
        scale=(1.0,) * len(names),
        transforms=(),
        separator="",
    )
    outputs = predictions.y.shape[1]
    return Task(target, "linear", outputs, Loss(name="mean_squared_error"), ("rmse",), 0.5)


@SETTINGS
@given(
    predictions=any_predictions(),
    threshold=st.sampled_from(
        [
            0.25,
            "f1",
            "youden",
            {"criterion": "precision", "min_precision": 0.99},
            {"criterion": "cost", "false_positive_cost": 1, "false_negative_cost": 10},
        ]
    ),
    calibrate=st.booleans(),
)
def test_decisions(
    tmp_path: Path, predictions: Predictions, threshold: Any, calibrate: bool
) -> None:
    chosen = Evaluate.model_validate(
        {"threshold": threshold, "calibrate": calibrate, "prediction_interval": 0.5}
    )
    decisions = choose_decisions(chosen, task_of(predictions), predictions)
    run = run_in(tmp_path)
    write_decisions(run, decisions)
    restored = read_decisions(run)
    assert restored is not None
    undefined = {
        name: None if value != value else value for name, value in decisions.achieved.items()
    }
    assert restored == replace(decisions, achieved=undefined)


@SETTINGS
@given(
    metrics=st.dictionaries(NAMES, st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    rows=st.none() | st.integers(0),
)
def test_evaluations(tmp_path: Path, metrics: dict[str, float | None], rows: int | None) -> None:
    intervals = {name: Interval(value, None, value, None, 3) for name, value in metrics.items()}
    evaluation = Evaluation(metrics, "test", "best", 3, rows, None, intervals)
    run = run_in(tmp_path)
    run.write_evaluation("test", evaluation)
    assert run.read_evaluations()["test"] == evaluation


@given(predictions=any_predictions())
def test_prediction_columns_have_unique_names(predictions: Predictions) -> None:
    task, p = task_of(predictions), predictions.p
    if predictions.task == "regression":
        task = replace(task, half_widths=(1.0,) * p.shape[1])
    columns = task.prediction_columns(p)
    all_columns = {**columns, **task.std_columns(p, columns)}
    names = predictions.names
    per_name = {"binary": 2, "multiclass": 1, "multilabel": 2, "regression": 3}[predictions.task]
    labels = 1 if predictions.task in {"binary", "multiclass"} else 0
    width = 1 if predictions.task == "binary" else len(names)
    assert len(all_columns) == per_name * width + labels + width
    for number, name in enumerate(task.prediction_names):
        np.testing.assert_array_equal(all_columns[name], p[:, number])


@given(targets=st.lists(NAMES, unique=True), outputs=st.lists(NAMES, unique=True))
def test_out_of_fold_columns_have_unique_names(targets: list[str], outputs: list[str]) -> None:
    outputs = [f"probability_{name}" for name in outputs]
    names = out_of_fold_names(targets, outputs)
    columns = ["row", "fold", *outputs, *names.std.values(), *names.target.values()]
    assert len(set(columns)) == len(columns)
    assert list(names.target) == targets


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_decisions_without_a_number_are_read(tmp_path: Path, value: float) -> None:
    run = run_in(tmp_path)
    write_decisions(run, Decisions(0.3, "f1", {"precision": value}))
    assert read_decisions(run) == Decisions(0.3, "f1", {"precision": None})
