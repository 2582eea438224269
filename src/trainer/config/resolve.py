"""What `auto` and unset settings mean: one function each, called by whoever needs the answer.

Owns: the rules that fill in head, loss, metrics, length of training, the watched measure, and what
splits draw with. Does not own: plain defaults (the schema's) nor whether the answers fit each other
(`conflict_problems`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, assert_never

from trainer.config.data import NamedSources, TaskName
from trainer.config.layers import HeadKind
from trainer.config.objectives import (
    COUNT_LOSSES,
    DEFAULT_LOSS,
    DEFAULT_METRICS,
    POSITIVE_HEADS,
    UNSCALED_LOSSES,
    LossName,
    MetricName,
)
from trainer.config.schema import Config, Fit

DEFAULT_EPOCHS = 100
"""Epochs of a `fit` section that names neither `epochs` nor `steps`."""


def resolved_split_seed(config: Config) -> int:
    """What splits and folds draw with: `data.split.seed`, or the config's `seed`."""
    return config.seed if config.data.split.seed is None else config.data.split.seed


def uses_folds(config: Config) -> bool:
    """Whether a fold validates, rather than a share of the rows: that of one network, or of many."""
    return config.data.split.fold is not None or config.fit.folds is not None


def can_have_validation(config: Config) -> bool:
    """Whether there can be validation rows, as far as the config alone says."""
    split, source = config.data.split, config.data.source
    if split.train_on_validation:
        return False
    if isinstance(source, NamedSources) and source.validation is not None:
        return True
    return split.validation > 0 or uses_folds(config) or split.by == "column"


def validation_fix(config: Config) -> str:
    """How a config without validation rows gets some."""
    split = config.data.split
    if split.train_on_validation:
        return "set data.split.train_on_validation: false"
    if split.by == "column":
        return f"mark rows 'validation' in column '{split.column}'"
    return "set data.split.validation above 0"


def resolved_head(config: Config, task: TaskName) -> HeadKind:
    """The kind of the last layer: `model.head`, or what the task asks for.

    Two classes and yes/no columns get sigmoid, many classes softmax, numbers linear, or exponential
    where the loss takes no negative predictions. Whether a stated head fits the task is
    `task_conflicts`' question.
    """
    if config.model.head != "auto":
        return config.model.head
    match task:
        case "binary" | "multilabel":
            return "sigmoid"
        case "multiclass":
            return "softmax"
        case "regression":
            return "exponential" if config.loss.name in COUNT_LOSSES else "linear"
        case _:
            assert_never(task)


def resolved_loss(config: Config, head: HeadKind) -> LossName:
    """The name of the loss, never "auto"."""
    return DEFAULT_LOSS[head] if config.loss.name == "auto" else config.loss.name


def resolved_metrics(config: Config, task: TaskName) -> tuple[MetricName, ...]:
    """What is measured besides the loss, in the order it is shown; without repeats."""
    if config.metrics == "auto":
        return DEFAULT_METRICS[task]
    return tuple(dict.fromkeys(config.metrics))


def resolved_steps(fit: Fit, steps_per_epoch: int) -> int:
    """Batches in the whole of training, given how many batches an epoch has."""
    if fit.steps is not None:
        return fit.steps
    return (DEFAULT_EPOCHS if fit.epochs is None else fit.epochs) * steps_per_epoch


def resolved_monitor(fit: Fit, has_validation: bool) -> str:
    """The measure that says which epoch is best.

    `fit.checkpoint.monitor`, else that of early stopping, else the validation loss, else (without
    validation rows) the training loss.
    """
    if fit.checkpoint.monitor is not None:
        return fit.checkpoint.monitor
    if fit.early_stopping is not None:
        return fit.early_stopping.monitor
    return "val_loss" if has_validation else "loss"


def monitored_metrics(fit: Fit) -> Iterator[tuple[str, str]]:
    """Each setting that names a measure to watch, and the measure."""
    if fit.early_stopping is not None:
        yield "fit.early_stopping.monitor", fit.early_stopping.monitor
    if fit.reduce_on_plateau is not None:
        yield "fit.reduce_on_plateau.monitor", fit.reduce_on_plateau.monitor
    if fit.checkpoint.monitor is not None:
        yield "fit.checkpoint.monitor", fit.checkpoint.monitor


ResolvedTargetScale = Literal["standard", "log", "power", "none"]


def resolved_target_scale(
    config: Config, task: TaskName, column: str | None = None
) -> ResolvedTargetScale:
    """How the numbers of a target column are scaled; None: of one that has no scale of its own.

    Auto is standard for a linear head, none for the others and for losses that need the target's unit.
    """
    if task != "regression":
        return "none"
    stated = config.data.target_scale
    if isinstance(stated, dict):
        stated = "auto" if column is None else stated.get(column, "auto")
    if stated != "auto":
        return stated
    is_linear = resolved_head(config, task) == "linear"
    return "standard" if is_linear and config.loss.name not in UNSCALED_LOSSES else "none"


def target_scale_key(config: Config) -> str | None:
    """The setting that only makes sense where numbers are predicted, such as a loss of counts."""
    if config.loss.name in UNSCALED_LOSSES:
        return f"loss: {config.loss.name}"
    if config.model.head in POSITIVE_HEADS:
        return f"model.head: {config.model.head}"
    return None
