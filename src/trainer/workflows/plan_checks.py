"""Checks of a run before it is trained: problems and warnings of its config and rows."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.assessment.slice_findings import slice_problems
from trainer.config.conflicts import task_conflicts
from trainer.config.data import NamedSources
from trainer.config.resolve import monitored_metrics
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.data.dataset import Dataset
from trainer.errors import ConfigError, Problem, pluralize
from trainer.inputs import IMAGE
from trainer.models.principal_components import component_problems
from trainer.tasks.task import Task
from trainer.tracking.trackers import tracking_problems

_MIN_VALIDATION_ROWS = 50
"""With fewer, the standard error of an accuracy exceeds 5%, more than epochs differ."""


def check_plan(config: Config, dataset: Dataset, task: Task) -> None:
    """Check that the config fits the data.

    Raises:
        ConfigError: Settings contradict the data.
    """
    target, has_validation = dataset.preprocessing.target, dataset.rows("validation") > 0
    problems = [
        *task_conflicts(config, target.task, task.head, target.classes, has_validation),
        *tracking_problems(config),
        *_undefined_monitors(config, dataset),
        *slice_problems(config, dataset),
        *_mixing_problems(config, dataset),
        *component_problems(config, task.network_shape(dataset.preprocessing)),
    ]
    if problems:
        raise ConfigError(problems)


def _mixing_problems(config: Config, dataset: Dataset) -> Iterator[Problem]:
    """Report images that are mixed with others although columns beside them would not be."""
    names = [spec.name for spec in dataset.preprocessing.inputs if spec.name != IMAGE]
    if not names:
        return
    for index, entry in enumerate(config.model.augment):
        kind = entry.settings.kind
        if entry.settings.mixes:
            count = len(dataset.preprocessing.columns) - 1
            found = f"{pluralize(count, 'other column')} that cannot be mixed"
            fix = f"remove {kind}, or the columns with data.features"
            key = f"model.augment.{index}.{kind}"
            yield Problem("", "images as the only column of the network", found, fix, key)


def _undefined_monitors(config: Config, dataset: Dataset) -> Iterator[Problem]:
    """Report monitored metrics that are undefined on these validation rows in every epoch."""
    monitors = tuple(monitored_metrics(config.fit))
    rows = dataset.rows("validation")
    if not rows or not any(metric in {"val_auc", "val_r2"} for _, metric in monitors):
        return
    counts = dataset.classes("validation")
    constant = [name for name, count in counts.items() if count in {0, rows}]
    for key, metric in monitors:
        found = ""
        if metric == "val_r2" and rows < 2:
            found = "1 validation row"
        if metric == "val_auc" and constant:
            quantity = "no" if counts[constant[0]] == 0 else "only"
            found = f"{quantity} validation rows of '{constant[0]}'"
        if found:
            fix = "monitor val_loss, or choose other validation rows with data.split"
            yield Problem("", f"validation rows that {metric} is defined for", found, fix, key)


def plan_warnings(config: Config, dataset: Dataset) -> Iterator[str]:
    """Yield warnings about splits and batches.

    Args:
        config: The config.
        dataset: The rows, split.
    """
    if dataset.rows("validation") == 0:
        stopping = config.fit.early_stopping
        if stopping is not None and not stopping.restore_best:
            yield "there are no validation rows: the weights of the last epoch are used"
        else:
            yield "there are no validation rows: the best epoch is chosen on the training rows"
        has_numbers = TASK_RULES[dataset.preprocessing.target.task].has_numbers
        if has_numbers and config.evaluate.decisions_from is None:
            yield "there are no validation rows: predictions have no intervals"
    elif dataset.rows("validation") < _MIN_VALIDATION_ROWS and config.data.split.fold is None:
        rows = pluralize(dataset.rows("validation"), "validation row")
        data = config.data
        cannot_fold = (
            TASK_RULES[dataset.preprocessing.target.task].has_text
            or data.split.by == "column"
            or isinstance(data.source, NamedSources)
            or not dataset.source.in_memory
        )
        fix = (
            ""
            if cannot_fold
            else ": fit.folds=5 trains five networks and averages their predictions"
        )
        yield f"{rows} are too few to choose the best epoch by{fix}"
    # With folds, each row is predicted by networks that were not trained on it.
    if dataset.rows("test") == 0 and config.data.split.fold is None:
        yield "there are no test rows: performance on new rows is not estimated"
    if config.fit.batch_size > dataset.rows("train"):
        yield (
            f"fit.batch_size {config.fit.batch_size} exceeds the "
            f"{dataset.rows('train')} training rows: each epoch has one step"
        )
