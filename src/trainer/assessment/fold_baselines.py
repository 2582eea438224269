"""A baseline model of a run: fitted for each fold on the training rows of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainer.assessment.decisions import choose_decisions
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.data.dataset import Dataset
from trainer.data.splits import SplitName
from trainer.metrics.predictions import Predictions
from trainer.runs.findings import TermWeights
from trainer.tasks.task import Task

COMPARED_SPLITS: tuple[SplitName, ...] = ("validation", "test")
"""The splits that a baseline predicts."""


@dataclass(frozen=True, slots=True)
class FoldData:
    """A table with its splits, and its task without decisions."""

    dataset: Dataset
    task: Task


@dataclass(frozen=True, slots=True)
class Baseline:
    """A model for comparison.

    Attributes:
        predictions: Its predictions for validation and test rows.
        threshold: Its threshold, chosen by the same criterion as that of the network; None for the same
            threshold.
        terms: The terms of texts with its largest weights.
    """

    predictions: Mapping[SplitName, Predictions]
    threshold: float | None
    terms: tuple[TermWeights, ...] = ()


def fit_baseline(
    config: Config,
    folds: Sequence[FoldData],
    predict: Callable[[FoldData], Mapping[SplitName, Predictions]],
) -> Baseline:
    """Fit a model for each fold, average the predictions for test rows, and choose the threshold.

    Args:
        config: The config of the run.
        folds: The table with its splits, for each fold.
        predict: Fits the model on the training rows of a fold and returns its predictions for the rows
            of `COMPARED_SPLITS`; splits without rows are omitted.
    """
    by_fold: dict[SplitName, list[Predictions]] = {split: [] for split in COMPARED_SPLITS}
    for fold in folds:
        for split, fold_predictions in predict(fold).items():
            by_fold[split].append(fold_predictions)
    predictions = {
        split: _combine_folds(split, predictions_of_folds)
        for split, predictions_of_folds in by_fold.items()
        if predictions_of_folds
    }
    task = folds[0].task
    if "validation" not in predictions or not TASK_RULES[task.name].has_classes:
        return Baseline(predictions, None)
    settings = config.evaluate.model_copy(update={"calibrate": False})
    decisions = choose_decisions(settings, task, predictions["validation"])
    return Baseline(predictions, decisions.threshold)


def _combine_folds(split: SplitName, by_fold: list[Predictions]) -> Predictions:
    """Concatenate the predictions of different rows, or average those of the same rows."""
    first = by_fold[0]
    if split == "test":
        return replace(first, p=np.stack([predictions.p for predictions in by_fold]).mean(axis=0))
    weights = [predictions.weight for predictions in by_fold if predictions.weight is not None]
    return replace(
        first,
        y=np.concatenate([predictions.y for predictions in by_fold]),
        p=np.concatenate([predictions.p for predictions in by_fold]),
        rows=np.concatenate([predictions.rows for predictions in by_fold]),
        weight=np.concatenate(weights) if weights else None,
    )
