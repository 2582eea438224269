from __future__ import annotations

from typing import Any

import pytest

from trainer.config.losses import DEFAULT_LOSS
from trainer.config.model import HeadKind
from trainer.config.resolve import (
    resolved_head,
    resolved_loss,
    resolved_metrics,
    resolved_monitor,
    resolved_steps,
    resolved_target_scale,
)
from trainer.config.schema import Config, Fit
from trainer.config.task_rules import TASK_RULES
from trainer.task_names import TaskName

TASKS: list[tuple[TaskName, HeadKind]] = [
    ("binary", "sigmoid"),
    ("multiclass", "softmax"),
    ("multilabel", "sigmoid"),
    ("regression", "linear"),
    ("translate", "softmax"),
]


def config(**sections: Any) -> Config:
    return Config.model_validate({"data": {"source": "x", "target": "y"}, **sections})


@pytest.mark.parametrize(("task", "head"), TASKS)
def test_auto(task: TaskName, head: HeadKind) -> None:
    assert resolved_head(config(), task) == head
    assert resolved_loss(config(), head).name == DEFAULT_LOSS[head]
    assert resolved_metrics(config(), task) == TASK_RULES[task].metrics
    assert resolved_target_scale(config(), task) == ("standard" if task == "regression" else "none")


def test_explicit_values() -> None:
    cfg = config(model={"head": "softmax"}, loss="poisson", metrics=["auc", "f1", "auc"])
    assert resolved_head(cfg, "binary") == "softmax"
    assert resolved_loss(cfg, "softmax").name == "poisson"
    assert resolved_metrics(cfg, "binary") == ("auc", "f1")


def test_target_scale() -> None:
    assert resolved_target_scale(config(model={"head": "sigmoid"}), "regression") == "none"
    cfg = Config.model_validate({"data": {"source": "x", "target": "y", "target_scale": "none"}})
    assert resolved_target_scale(cfg, "regression") == "none"
    assert resolved_target_scale(config(loss="poisson"), "regression") == "none"
    percentages = config(loss="mean_absolute_percentage_error")
    assert resolved_target_scale(percentages, "regression") == "none"


def test_target_scale_of_each_column() -> None:
    scales = {"a": "log", "b": "none"}
    cfg = Config.model_validate({"data": {"source": "x", "target": ["a", "b", "c"]}})
    cfg = cfg.model_copy(update={"data": cfg.data.model_copy(update={"target_scale": scales})})
    scales = [resolved_target_scale(cfg, "regression", name) for name in ("a", "b", "c")]
    assert scales == ["log", "none", "standard"]


@pytest.mark.parametrize("loss", ["poisson", "mean_squared_logarithmic_error"])
def test_count_losses_get_a_positive_head(loss: str) -> None:
    assert resolved_head(config(loss=loss), "regression") == "exponential"
    assert resolved_head(config(loss=loss), "binary") == "sigmoid"
    assert resolved_head(config(loss=loss, model={"head": "softplus"}), "regression") == "softplus"


def test_resolved_steps() -> None:
    assert resolved_steps(Fit(), 10) == 1000
    assert resolved_steps(Fit(epochs=3), 10) == 30
    assert resolved_steps(Fit(steps=7), 10) == 7


def test_monitor() -> None:
    assert resolved_monitor(Fit(), has_validation=True) == "val_loss"
    assert resolved_monitor(Fit(), has_validation=False) == "loss"
    stopping = Fit.model_validate({"early_stopping": {"monitor": "val_auc"}})
    assert resolved_monitor(stopping, has_validation=True) == "val_auc"
    both = Fit.model_validate({"early_stopping": 3, "checkpoint": {"monitor": "val_f1"}})
    assert resolved_monitor(both, has_validation=True) == "val_f1"
