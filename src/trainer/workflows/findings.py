"""The findings of a run's predictions: metrics with intervals, two baselines, weak spots, a summary.

All of them follow from `predictions/`, `decisions.json` and the table. `trainer.evaluation` has the
methods. No TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.assessment import bootstrap as bootstrapped
from trainer.assessment.baselines import fit_prior
from trainer.assessment.bootstrap import bootstrap, paired_bootstrap
from trainer.assessment.calibration import calibration_error
from trainer.assessment.conformal import ConformalIntervals, empirical_coverage
from trainer.assessment.headline import compared
from trainer.assessment.intervals import ConfidenceInterval
from trainer.assessment.slice_findings import find_slices
from trainer.assessment.slices import worst_rows
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.data.dataset import Dataset
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.evaluation.metrics import SEPARATOR, compute_all_metrics
from trainer.evaluation.predictions import Predictions
from trainer.report.predictions import LINEAR, predictions_to_parquet, read_split_predictions
from trainer.report.summary import summary_sentence
from trainer.runs.directory import RunDirectory
from trainer.runs.findings import (
    Findings,
    MetricDifference,
    MetricValue,
    SplitFindings,
    WorstRow,
    write_findings,
)
from trainer.workflows.decisions import choose_decisions
from trainer.workflows.linear_baseline import linear_predictions
from trainer.workflows.task import Task

_DRAWN_ROWS, _COMPARED_ROWS = 200_000_000, 40_000_000
"""Maximum number of drawn rows for intervals and for intervals of differences, which take four times as
long: large splits have fewer resamples. With more than ten classes, rows take proportionally longer."""
_LEAST_RESAMPLES = 200
_WORST_ROWS = 20


@dataclass(frozen=True, slots=True)
class FoldData:
    """A table with its splits, and its task without decisions."""

    dataset: Dataset
    task: Task


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """A run that has been evaluated.

    Attributes:
        run: The run directory with its predictions.
        config: The config of the run.
        task: The task with the decisions of the run.
        parts: The table with its splits; one for each fold.
    """

    run: RunDirectory
    config: Config
    task: Task
    parts: tuple[FoldData, ...]

    @property
    def dataset(self) -> Dataset:
        """Return the table with the splits of the first fold."""
        return self.parts[0].dataset


def make_findings(evaluated: EvaluatedRun) -> Findings:
    """Write the findings of a run and the predictions of its linear baseline.

    Raises:
        RunError: Files of the run are damaged.
        StorageError: The run directory cannot be written.
    """
    settings, task = evaluated.config.evaluate, evaluated.task
    predictions = _read_predictions(evaluated)
    baseline = _linear_baseline(evaluated)
    task_name = task.target.task
    names = compared(evaluated.config, task_name, predictions.values())
    splits: dict[str, SplitFindings] = {
        split: _split(evaluated, split_predictions, baseline, split, names)
        for split, split_predictions in predictions.items()
    }
    last = predictions.get("test") or predictions.get("validation") or predictions["train"]
    slices, worst_slices = find_slices(evaluated.config, evaluated.dataset, last, task.threshold)
    findings = Findings(
        task=task_name,
        names=tuple(last.names),
        confidence_level=settings.confidence_level,
        sentence="",
        splits=splits,
        resamples=settings.resamples,
        seed=evaluated.config.seed,
        compared_metrics=names,
        slices=slices,
        worst_slices=worst_slices,
        worst_rows=_worst_rows(task, last),
    )
    findings = replace(findings, sentence=summary_sentence(findings))
    write_findings(evaluated.run, findings)
    return findings


def _read_predictions(evaluated: EvaluatedRun) -> dict[SplitName, Predictions]:
    task = evaluated.task
    names = task.target.names
    predictions: dict[SplitName, Predictions] = {}
    for split in SPLIT_NAMES:
        split_predictions = read_split_predictions(
            evaluated.run, split, task.target.task, names, task.prediction_names
        )
        if split_predictions is not None:
            predictions[split] = split_predictions
    return predictions


@dataclass(frozen=True, slots=True)
class _LinearBaseline:
    of: Mapping[SplitName, Predictions]
    threshold: float


def _linear_baseline(evaluated: EvaluatedRun) -> _LinearBaseline:
    """Predict with a linear model for each fold and average the predictions for test rows."""
    by_fold: dict[SplitName, list[Predictions]] = {"validation": [], "test": []}
    for part in evaluated.parts:
        fold_predictions = linear_predictions(
            evaluated.config, part.task, part.dataset, tuple(by_fold)
        )
        for split in fold_predictions:
            by_fold[split].append(fold_predictions[split])
        part.dataset.release_samples()
    predictions = {
        split: _combine_folds(split, predictions_of_folds)
        for split, predictions_of_folds in by_fold.items()
        if predictions_of_folds
    }
    for split, split_predictions in predictions.items():
        content = predictions_to_parquet(split_predictions, evaluated.task.prediction_names)
        evaluated.run.write_predictions(f"{split}{LINEAR}.parquet", content)
    # Its threshold is chosen for the same aim; without validation rows it is the network's.
    settings = evaluated.config.evaluate.model_copy(update={"calibrate": False})
    decisions = choose_decisions(settings, evaluated.parts[0].task, predictions.get("validation"))
    chosen = decisions.threshold if "validation" in predictions else evaluated.task.threshold
    return _LinearBaseline(predictions, chosen)


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


def _split(
    evaluated: EvaluatedRun,
    predictions: Predictions,
    baseline: _LinearBaseline,
    split: SplitName,
    names: tuple[str, ...],
) -> SplitFindings:
    settings, task = evaluated.config.evaluate, evaluated.task
    task_name = task.target.task
    rows, max_resamples = len(predictions), settings.resamples
    size = rows * max(1, len(predictions.names) // 10)
    resamples, difference_resamples = (
        max(min(max_resamples, _LEAST_RESAMPLES), min(max_resamples, limit // max(1, size)))
        for limit in (_DRAWN_ROWS, _COMPARED_ROWS)
    )
    options: dict[str, Any] = {
        "confidence_level": settings.confidence_level,
        "seed": evaluated.config.seed,
    }
    threshold = task.threshold
    metrics = bootstrap(predictions, threshold=threshold, resamples=resamples, **options)
    findings = SplitFindings(
        rows=len(predictions),
        metrics=_metric_values(metrics),
        resamples=resamples,
        difference_resamples=difference_resamples,
    )
    if split != "train":
        prior = _prior_baseline(evaluated, predictions)
        linear = replace(_align(baseline.of[split], predictions), group=predictions.group)
        options |= {"threshold": threshold, "names": names, "resamples": difference_resamples}
        vs_prior = paired_bootstrap(predictions, prior, **options)
        vs_linear = paired_bootstrap(
            predictions, linear, other_threshold=baseline.threshold, **options
        )
        findings = replace(
            findings,
            prior=_defined_metrics(compute_all_metrics(prior, threshold)),
            linear=_defined_metrics(compute_all_metrics(linear, baseline.threshold)),
            vs_prior=_differences(vs_prior),
            vs_linear=_differences(vs_linear),
        )
    if TASK_RULES[task_name].has_classes:
        error = calibration_error(
            task_name, predictions.y, predictions.p, weight=predictions.weight
        )
        findings = replace(findings, calibration_error=MetricValue.of(error, error, error).value)
    if task.half_widths and split != "validation":
        fitted = ConformalIntervals(np.array(task.half_widths), settings.prediction_interval, 0)
        to_interval_scale = task.target.to_interval_scale
        coverage = empirical_coverage(
            fitted,
            to_interval_scale(predictions.y),
            to_interval_scale(predictions.p),
            settings.confidence_level,
        )
        by_column = dict(zip(predictions.names, coverage, strict=True))
        findings = replace(findings, interval_coverage=_metric_values(by_column))
    return findings


def _metric_values(metrics: Mapping[str, ConfidenceInterval]) -> dict[str, MetricValue]:
    return {
        name: MetricValue.of(interval.value, interval.low, interval.high)
        for name, interval in metrics.items()
    }


def _differences(
    differences: Mapping[str, bootstrapped.PairedDifference],
) -> dict[str, MetricDifference]:
    return {
        name: MetricDifference.of(
            difference.value, difference.low, difference.high, difference.is_significant
        )
        for name, difference in differences.items()
    }


def _worst_rows(task: Task, predictions: Predictions) -> tuple[WorstRow, ...]:
    indices, losses = worst_rows(predictions, _WORST_ROWS)
    actual = task.json_values(predictions.y[indices])
    return tuple(
        WorstRow(
            int(predictions.rows[index]),
            actual[number] if isinstance(actual[number], str) else tuple(actual[number]),
            tuple(float(value) if np.isfinite(value) else None for value in predictions.p[index]),
            MetricValue.of(loss, loss, loss).value,
        )
        for number, (index, loss) in enumerate(zip(indices, losses, strict=True))
    )


def _prior_baseline(evaluated: EvaluatedRun, predictions: Predictions) -> Predictions:
    """Return the class shares or the means of the training rows as predictions."""
    dataset = evaluated.dataset
    rows = np.flatnonzero(dataset.assignment == SPLIT_NAMES.index("train"))
    values = dataset.target_values(rows)
    targets = dataset.targets(rows)[0] if values is None else values
    weight = None if dataset.weight is None else dataset.weight[rows]
    mean = fit_prior(targets, weight)
    return replace(predictions, p=np.tile(mean, (len(predictions), 1)).astype(predictions.p.dtype))


def _align(other: Predictions, predictions: Predictions) -> Predictions:
    """Return predictions for the rows of `predictions`, in their order."""
    order = np.argsort(other.rows)
    indices = order[np.searchsorted(other.rows, predictions.rows, sorter=order)]
    return other.take(indices)


def _defined_metrics(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {
        name: float(value) if np.isfinite(value) else None
        for name, value in metrics.items()
        if SEPARATOR not in name
    }
