"""The headline is the metric that the config optimizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainer.assessment.headline import compared
from trainer.config.schema import Config
from trainer.metrics.predictions import Predictions
from trainer.task_names import TaskName

NAMES: dict[TaskName, tuple[str, ...]] = {
    "binary": ("no", "yes"),
    "multiclass": ("a", "b", "c"),
    "multilabel": ("x", "y"),
    "regression": ("x",),
}


def make_predictions(task: TaskName, zeros: bool = False) -> Predictions:
    rng = np.random.default_rng(0)
    names = NAMES[task]
    width = 1 if task == "binary" else len(names)
    y = np.eye(3)[np.arange(9) % 3] if task == "multiclass" else rng.integers(0, 2, (9, width))
    if task == "regression":
        y = np.zeros((9, 1)) if zeros else rng.normal(5, 0.1, (9, 1))
    return Predictions(task, names, y.astype(float), np.full(y.shape, 0.4), np.arange(9))


@pytest.mark.parametrize(
    ("task", "settings", "expected"),
    [
        ("binary", {}, "auc"),
        ("multiclass", {}, "accuracy"),
        ("multilabel", {}, "auc"),
        ("regression", {}, "rmse"),
        ("multiclass", {"fit": {"class_weight": "balanced"}}, "balanced_accuracy"),
        ("binary", {"fit": {"class_weight": "balanced"}}, "auc"),
        ("binary", {"evaluate": {"threshold": "f1"}}, "f1"),
        ("binary", {"evaluate": {"threshold": "youden"}}, "balanced_accuracy"),
        (
            "binary",
            {"evaluate": {"threshold": {"criterion": "precision", "min_precision": 0.9}}},
            "auc",
        ),
        ("binary", {"evaluate": {"threshold": 0.3}}, "auc"),
        ("binary", {"fit": {"early_stopping": {"monitor": "val_accuracy"}}}, "accuracy"),
        ("binary", {"fit": {"early_stopping": {"monitor": "val_loss"}}}, "auc"),
        ("regression", {"fit": {"checkpoint": {"monitor": "val_mae"}}}, "mae"),
        ("regression", {"fit": {"checkpoint": {"monitor": "val_mape"}}}, "mape"),
        (
            "multiclass",
            {
                "fit": {
                    "class_weight": "balanced",
                    "early_stopping": {"monitor": "val_f1"},
                    "checkpoint": {"monitor": "val_mcc"},
                }
            },
            "mcc",
        ),
    ],
)
def test_headline(task: TaskName, settings: dict[str, Any], expected: str) -> None:
    config = Config.model_validate({"data": {"source": "t.csv", "target": "y"}, **settings})
    names = compared(config, task, [make_predictions(task)])
    assert names[0] == expected
    assert len(set(names)) == len(names) >= 3


def test_headline_is_a_metric_of_the_split() -> None:
    config = Config.model_validate(
        {
            "data": {"source": "t.csv", "target": "y"},
            "fit": {"checkpoint": {"monitor": "val_mape"}},
        }
    )
    parts = [make_predictions("regression"), make_predictions("regression", zeros=True)]
    assert compared(config, "regression", parts)[0] == "rmse"
