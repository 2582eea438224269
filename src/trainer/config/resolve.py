"""The values of `auto` and unset settings that depend on other settings or on the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from trainer.config.data import NamedSources
from trainer.config.losses import DEFAULT_LOSS, Loss
from trainer.config.metrics import MetricName
from trainer.config.model import POSITIVE_HEADS, HeadKind
from trainer.config.schema import Config, Fit
from trainer.config.task_rules import TASK_RULES
from trainer.task_names import TaskName

DEFAULT_EPOCHS = 100
"""Number of epochs if neither `fit.epochs` nor `fit.steps` is set."""


def resolved_split_seed(config: Config) -> int:
    """Return the seed of splits and folds: `data.split.seed`, or the config's `seed`."""
    return config.seed if config.data.split.seed is None else config.data.split.seed


def uses_folds(config: Config) -> bool:
    """Return whether the validation rows are a fold, of one model or of several."""
    return config.data.split.fold is not None or config.fit.folds is not None


def can_have_validation(config: Config) -> bool:
    """Return whether there can be validation rows, as far as the config determines it."""
    split, source = config.data.split, config.data.source
    if split.train_on_validation:
        return False
    if isinstance(source, NamedSources) and source.validation is not None:
        return True
    return split.validation > 0 or uses_folds(config) or split.by == "column"


def validation_fix(config: Config) -> str:
    """Return advice on how to get validation rows."""
    split = config.data.split
    if split.train_on_validation:
        return "set data.split.train_on_validation: false"
    if split.by == "column":
        return f"mark rows 'validation' in column '{split.column}'"
    return "set data.split.validation above 0"


def resolved_head(config: Config, task: TaskName) -> HeadKind:
    """Return the head: `model.head`, or the default of the task.

    Two classes and yes/no columns get sigmoid, more classes softmax, numbers linear, or exponential
    if the loss does not allow negative predictions. `task_conflicts` checks whether
    `model.head` fits the task.
    """
    if config.model.head != "auto":
        return config.model.head
    rules = TASK_RULES[task]
    if config.loss.kind.is_for_counts and rules.has_numbers:
        return "exponential"
    return rules.heads[0]


def resolved_loss(config: Config, head: HeadKind) -> Loss:
    """Return the loss; its name is never "auto"."""
    if config.loss.name != "auto":
        return config.loss
    return config.loss.model_copy(update={"name": DEFAULT_LOSS[head]})


def resolved_metrics(config: Config, task: TaskName) -> tuple[MetricName, ...]:
    """Return the metrics besides the loss, in the order of display and without duplicates."""
    if config.metrics == "auto":
        return TASK_RULES[task].metrics
    return tuple(dict.fromkeys(config.metrics))


def resolved_steps(fit: Fit, steps_per_epoch: int) -> int:
    """Return the number of batches in the whole training run."""
    if fit.steps is not None:
        return fit.steps
    return (DEFAULT_EPOCHS if fit.epochs is None else fit.epochs) * steps_per_epoch


def resolved_monitor(fit: Fit, has_validation: bool) -> str:
    """Return the metric that determines the best epoch.

    It is `fit.checkpoint.monitor`, else the monitor of early stopping, else the validation loss, else
    (without validation rows) the training loss.
    """
    if fit.checkpoint.monitor is not None:
        return fit.checkpoint.monitor
    if fit.early_stopping is not None:
        return fit.early_stopping.monitor
    return "val_loss" if has_validation else "loss"


def monitored_metrics(fit: Fit) -> Iterator[tuple[str, str]]:
    """Yield each setting that names a metric to monitor, and the metric."""
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
    """Return how a target column is scaled.

    Without `column`, return the scale of the columns that `data.target_scale` does not list. Auto is
    standard for a linear head, none for other heads and for losses that need an unscaled target.
    """
    if not TASK_RULES[task].has_numbers:
        return "none"
    scale = config.data.target_scale
    if isinstance(scale, dict):
        scale = "auto" if column is None else scale.get(column, "auto")
    if scale != "auto":
        return scale
    is_linear = resolved_head(config, task) == "linear"
    return "standard" if is_linear and not config.loss.kind.needs_unscaled_target else "none"


def regression_setting(config: Config) -> str | None:
    """Return a setting that implies regression, such as a count loss; None if there is none."""
    if config.loss.kind.needs_unscaled_target:
        return f"loss: {config.loss.name}"
    if config.model.head in POSITIVE_HEADS:
        return f"model.head: {config.model.head}"
    return None
