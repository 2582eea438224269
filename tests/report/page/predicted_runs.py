"""Make runs with predictions, findings and explanations like `fit` and `explain`, without training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.report.run_files import make_run, scores, settings
from trainer.assessment.bootstrap import bootstrap, paired_bootstrap
from trainer.assessment.resampling import Resampling
from trainer.config.data import Numeric
from trainer.data.numeric import SortedValues, fit_numeric
from trainer.data.preprocessing import Preprocessing
from trainer.data.targets import FittedTarget
from trainer.metrics.predictions import Predictions
from trainer.report.predictions import LINEAR, predictions_to_parquet
from trainer.runs.directory import RunDirectory
from trainer.runs.example import ExampleRow, write_example
from trainer.runs.log import MetricsLog
from trainer.task_names import TaskName
from trainer.tasks.registry import get_task_kind

HOSTILE = (
    '<script>alert("a")</script>',
    "</svg><img src=x onerror=alert(1)>",
    "\"'><b>&amp;",
    "$\\frac{1}$ \u202eשלום\u0000",
)
"""Names of classes and columns in an untrusted run."""
PLAIN = ("no", "yes", "maybe", "never")


def make_predictions(
    task: TaskName, names: tuple[str, ...], rows: int, seed: int = 0, first: int = 0
) -> Predictions:
    """Make random predictions that are better than chance."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        y = rng.normal(size=(rows, len(names))) * 10
        p = y + rng.normal(size=y.shape) * 3
    elif task == "multiclass":
        y = np.eye(len(names))[np.arange(rows) % len(names)]
        p = np.exp(2 * y + rng.normal(size=y.shape))
        p /= p.sum(axis=1, keepdims=True)
    else:
        y = (rng.random((rows, 1 if task == "binary" else len(names))) < 0.4).astype(float)
        p = 1 / (1 + np.exp(-(3 * y - 1.5 + rng.normal(size=y.shape) * 1.5)))
    # With the dtype in the file.
    stored = p if task == "regression" else p.astype(np.float32)
    return Predictions(task, names, y, stored, np.arange(first, first + rows))


def make_predicted_run(
    root: Path,
    task: TaskName = "binary",
    names: tuple[str, ...] | None = None,
    *,
    rows: int = 60,
    resamples: int = 100,
    config: dict[str, Any] | None = None,
    **manifest: Any,
) -> RunDirectory:
    """Make a run with test predictions, a linear baseline, findings, decisions and explanations."""
    classes = (PLAIN[:2] if task == "binary" else PLAIN[:3]) if names is None else names
    run = make_run(root, config=config or settings(), evaluations=scores(auc=0.9), **manifest)
    columns = get_task_kind(task).prediction_names(classes)
    predictions, linear = (
        make_predictions(task, classes, rows),
        make_predictions(task, classes, rows, seed=0),
    )
    linear = Predictions(
        task, classes, predictions.y, np.roll(linear.p, 1, axis=0), predictions.rows
    )
    run.write_predictions("test.parquet", predictions_to_parquet(predictions, columns))
    run.write_predictions(f"test{LINEAR}.parquet", predictions_to_parquet(linear, columns))
    findings = _findings(predictions, linear, resamples)
    _write(run, "findings.json", findings)
    decisions: dict[str, Any] = {"threshold": 0.43, "criterion": "f1", "temperature": 1.2}
    if task == "regression":
        decisions |= {"coverage": 0.9, "half_widths": dict.fromkeys(classes, 5.0)}
    _write(run, "decisions.json", decisions)
    run.write_preprocessing(make_preprocessing(task, classes).to_json())
    values = dict.fromkeys(classes, 1.25)
    write_example(run, ExampleRow("validation", 7, values))
    _explain(run, classes, predictions.p.shape[1])
    with MetricsLog(run.metrics) as log:
        for epoch in range(1, 21):
            log.append(
                {
                    "epoch": epoch,
                    "step": epoch * 3,
                    "loss": 1 / epoch,
                    "auc": 1 - 1 / (epoch + 1),
                    "val_loss": 1 / epoch + 0.1,
                    "val_auc": 1 - 1 / epoch,
                    "learning_rate": 0.1 / epoch,
                }
            )
    return run


def make_preprocessing(task: TaskName, names: tuple[str, ...]) -> Preprocessing:
    """Make a preprocessing with a numeric column for each name."""
    columns = [
        fit_numeric(name, SortedValues(np.array([-1.0, 0.0, 2.0, 4.0]), 0), Numeric(), None)
        for name in names
    ]
    numbers = task in ("multilabel", "regression")
    count = len(names) if numbers else 0
    target = FittedTarget(
        task=task,
        reason="stated",
        columns=names if numbers else ("target",),
        classes=() if numbers else names,
        rows=4,
        class_counts=() if task == "regression" else (2,) * len(names),
        prior=(0.5,) * (1 if task == "binary" else len(names)),
        offset=(0.5,) * count if task == "regression" else (),
        scale=(2.0,) * count if task == "regression" else (),
    )
    stored = tuple(column for column in columns if column is not None)
    return Preprocessing(rows=4, columns=stored, target=target)


def _findings(predictions: Predictions, linear: Predictions, resamples: int) -> dict[str, Any]:
    task, names = predictions.task, predictions.names
    metrics = bootstrap(predictions, resampling=Resampling(resamples))
    compared = ("rmse", "r2") if task == "regression" else ("accuracy", "log_loss")
    differences = paired_bootstrap(
        predictions, linear, names=compared, resampling=Resampling(resamples)
    )
    overall = {name: item.value for name, item in metrics.items() if "/" not in name}
    test = {
        "rows": len(predictions),
        "metrics": {name: asdict(item) for name, item in metrics.items()},
        "prior": overall,
        "linear": overall,
        "vs_prior": {name: asdict(item) for name, item in differences.items()},
        "vs_linear": {name: asdict(item) for name, item in differences.items()},
        "calibration_error": None if task == "regression" else 0.05,
        "interval_coverage": {
            name: {"value": 0.9, "low": 0.85, "high": 0.95} for name in names[:1]
        },
    }
    part = {"where": {names[0]: names[1]}, "rows": 20, "value": 0.5, "low": 0.4, "high": 0.6}
    actual = names[1] if task in ("binary", "multiclass") else predictions.y[0].tolist()
    worst = {"row": 3, "actual": actual, "prediction": predictions.p[0].tolist(), "loss": 4.5}
    return {
        "format": 1,
        "task": task,
        "names": list(names),
        "confidence_level": 0.95,
        "sentence": f"On {len(predictions)} test rows, {names[1]} is predicted well.",
        "splits": {"test": test},
        "slices": {"metric": "accuracy", "overall": 0.8, "slices": [{**part, "p_value": None}]},
        "worst_slices": {
            "metric": "accuracy",
            "overall": 0.8,
            "searched": 12,
            "slices": [{**part, "p_value": 0.01}],
        },
        "worst_rows": [worst],
    }


def _explain(run: RunDirectory, names: tuple[str, ...], outputs: int) -> None:
    folder = run.path / "explanation"
    folder.mkdir()
    drops = [
        {"column": name, "drop": 0.1 - index / 20, "low": 0.07 - index / 20, "high": 0.2}
        for index, name in enumerate(names)
    ]
    importance = {"split": "test", "rows": 60, "repeats": 5, "metric": "auc", "baseline": 0.9}
    _write(run, "explanation/importance.json", {**importance, "columns": drops})
    curves = [
        {"column": names[0], "kind": "numeric", "values": [0.0, 1.0, 2.0], "rug": [0.5, 1.5]},
        {"column": names[1], "kind": "categorical", "values": ["a", names[0], None], "rug": []},
    ]
    means = np.linspace(0, 1, 3)[:, None].repeat(outputs, axis=1).tolist()
    _write(
        run,
        "explanation/partial_dependence.json",
        {"columns": [{**item, "predictions": means} for item in curves]},
    )
    surface = {"columns": list(names[:2]), "x": [0.0, 1.0, 2.0], "y": [0.0, 1.0]}
    points = {"x": [0.5, 1.0], "y": [0.2, 0.8], "actual": [names[0], names[1]]}
    cells = [[0.1, 0.2, 0.3], [0.5, 0.7, 0.9]]
    _write(run, "explanation/surface.json", {**surface, "predictions": cells, "points": points})
    shap = [{"column": name, "mean_absolute": [0.1]} for name in names]
    _write(run, "explanation/shap.json", {"names": [names[0]], "rows": [1, 2], "columns": shap})


def _write(run: RunDirectory, name: str, value: dict[str, Any]) -> None:
    (run.path / name).write_text(json.dumps(value).replace("NaN", "null"), encoding="utf-8")
