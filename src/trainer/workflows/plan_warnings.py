"""Warnings about the rows of a run before it is trained."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.config.data import NamedSources
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.data.dataset import Dataset
from trainer.errors import pluralize

_MIN_VALIDATION_ROWS = 50
"""With fewer, the standard error of an accuracy exceeds 5%, more than epochs differ."""


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
            data.split.by == "column"
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
