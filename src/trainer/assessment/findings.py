"""The findings of a run's predictions: metrics with intervals, baselines, weak spots.

They are computed from the predictions, the decisions and the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.assessment import bootstrap as bootstrapped
from trainer.assessment.baselines import fit_prior
from trainer.assessment.boosting_baseline import BoostingResult
from trainer.assessment.bootstrap import bootstrap_with_differences
from trainer.assessment.calibration import calibration_error
from trainer.assessment.conformal import ConformalIntervals, empirical_coverage
from trainer.assessment.fold_baselines import Baseline, FoldData
from trainer.assessment.headline import compared
from trainer.assessment.intervals import ConfidenceInterval
from trainer.assessment.resampling import Resampling, bounded_resamples, rows_per_resample
from trainer.assessment.slice_findings import find_slices
from trainer.assessment.slices import worst_rows
from trainer.config.schema import Config, Evaluate
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import RowIndex
from trainer.data.dataset import Dataset
from trainer.data.ngrams import clean_text
from trainer.data.opening import gather_rows
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.data.values import to_text
from trainer.metrics.arrays import BLOCK_ROWS, Float64Array
from trainer.metrics.evaluator import SEPARATOR, compute_all_metrics
from trainer.metrics.predictions import Predictions
from trainer.runs.findings import (
    Findings,
    MetricDifference,
    MetricValue,
    SplitFindings,
    WorstRow,
)
from trainer.tasks.task import Task

_DRAWN_ROWS, _COMPARED_ROWS = 200_000_000, 40_000_000
"""Maximum number of resampled rows for intervals and for intervals of differences, which take four
times as long: large splits have fewer resamples. With more than ten classes, rows take proportionally
longer."""
_WORST_ROWS = 20
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Baselines:
    """The models that a run is compared with, besides the constant prediction.

    Attributes:
        linear: The linear model, if it was fitted.
        boosting: Gradient boosting, and notes.
    """

    linear: Baseline | None
    boosting: BoostingResult


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """A run that has been evaluated.

    Attributes:
        config: The config of the run.
        task: The task with the decisions of the run.
        parts: The table with its splits; one for each fold.
        predictions: The predictions of each split that has any, in the order of the splits; those of
            large splits are read when they are used.
    """

    config: Config
    task: Task
    parts: tuple[FoldData, ...]
    predictions: Mapping[SplitName, Predictions]

    @property
    def dataset(self) -> Dataset:
        """Return the table with the splits of the first fold."""
        return self.parts[0].dataset


def make_findings(evaluated: EvaluatedRun, baselines: Baselines) -> Findings:
    """Return the findings of a run, without the summary sentence."""
    settings, task, predictions = evaluated.config.evaluate, evaluated.task, evaluated.predictions
    task_name = task.name
    names = compared(evaluated.config, task_name, predictions.values())
    prior = _fit_prior(evaluated.dataset)
    splits: dict[str, SplitFindings] = {
        split: _split(evaluated, prior, baselines, split, names) for split in predictions
    }
    last = predictions.get("test") or predictions.get("validation") or predictions["train"]
    slices, worst_slices = find_slices(evaluated.config, evaluated.dataset, last, task.threshold)
    boosting = baselines.boosting
    return Findings(
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
        worst_rows=_worst_rows(task, evaluated.dataset, last),
        terms=() if baselines.linear is None else baselines.linear.terms,
        notes=(boosting.note,) if boosting.note else (),
        warnings=(boosting.warning,) if boosting.warning else (),
    )


def _split(
    evaluated: EvaluatedRun,
    prior: Float64Array,
    baselines: Baselines,
    split: SplitName,
    names: tuple[str, ...],
) -> SplitFindings:
    config, task, predictions = evaluated.config, evaluated.task, evaluated.predictions[split]
    settings, task_name = config.evaluate, task.name
    size = rows_per_resample(len(predictions)) * max(1, len(predictions.names) // 10)
    resamples, difference_resamples = (
        bounded_resamples(settings.resamples, size, limit)
        for limit in (_DRAWN_ROWS, _COMPARED_ROWS)
    )
    models = (
        {}
        if split == "train"
        else _compared_models(evaluated, prior, baselines, split, predictions)
    )
    metrics, differences = bootstrap_with_differences(
        predictions,
        models,
        names=names,
        threshold=task.threshold,
        resampling=Resampling(resamples, settings.confidence_level, config.seed),
        difference_resamples=difference_resamples,
    )
    findings = SplitFindings(
        rows=len(predictions),
        metrics=_metric_values(metrics),
        resamples=resamples,
        difference_resamples=difference_resamples,
        linear_model=_linear_model(evaluated),
    )
    for name, (other, threshold) in models.items():
        of_model = _defined_metrics(compute_all_metrics(other, threshold))
        fields: dict[str, Any] = {name: of_model, f"vs_{name}": _differences(differences[name])}
        findings = replace(findings, **fields)
    if TASK_RULES[task_name].has_classes:
        error = calibration_error(
            task_name, predictions.y, predictions.p, weight=predictions.weight
        )
        findings = replace(
            findings, calibration_error=MetricValue.from_floats(error, error, error).value
        )
    if task.half_widths and split != "validation":
        findings = replace(
            findings, interval_coverage=_interval_coverage(settings, task, predictions)
        )
    return findings


def _interval_coverage(
    settings: Evaluate, task: Task, predictions: Predictions
) -> dict[str, MetricValue]:
    """Return the fraction of rows whose interval contains the true value, for each column."""
    fitted = ConformalIntervals(np.array(task.half_widths), settings.prediction_interval, 0)
    first, last = task.interval_base(predictions.all_predictions())
    y = task.target.to_interval_scale(predictions.y)
    coverage = empirical_coverage(fitted, y, first, settings.confidence_level, last)
    return _metric_values(dict(zip(predictions.names, coverage, strict=True)))


def _metric_values(metrics: Mapping[str, ConfidenceInterval]) -> dict[str, MetricValue]:
    return {
        name: MetricValue.from_floats(interval.value, interval.low, interval.high)
        for name, interval in metrics.items()
    }


def _linear_model(evaluated: EvaluatedRun) -> str:
    """Return what the linear model is called: the usual name of one for texts."""
    if not evaluated.dataset.preprocessing.text_names:
        return "linear model"
    has_classes = TASK_RULES[evaluated.task.name].has_classes
    return f"TF-IDF {'logistic' if has_classes else 'ridge'} regression"


def _differences(
    differences: Mapping[str, bootstrapped.PairedDifference],
) -> dict[str, MetricDifference]:
    return {
        name: MetricDifference.from_floats(
            difference.value, difference.low, difference.high, difference.is_significant
        )
        for name, difference in differences.items()
    }


def _worst_rows(task: Task, dataset: Dataset, predictions: Predictions) -> tuple[WorstRow, ...]:
    indices, losses = worst_rows(predictions, _WORST_ROWS)
    texts = _texts(dataset, predictions.rows[indices])
    actual = task.json_values(predictions.y[indices])
    return tuple(
        WorstRow(
            int(predictions.rows[index]),
            actual[number] if isinstance(actual[number], str) else tuple(actual[number]),
            tuple(float(value) if np.isfinite(value) else None for value in predictions.p[index]),
            MetricValue.from_floats(loss, loss, loss).value,
            texts[number],
        )
        for number, (index, loss) in enumerate(zip(indices, losses, strict=True))
    )


def _texts(dataset: Dataset, rows: RowIndex) -> list[dict[str, str]]:
    """Return the columns of text of some rows, with single blanks, shortened."""
    names = list(dataset.preprocessing.text_names)
    if not names:
        return [{} for _ in rows]
    ordered, places = np.unique(rows, return_inverse=True)
    frame = gather_rows(dataset.source, names, ordered)
    cells = [to_text(frame[name]).fill_null("").to_list() for name in names]
    return [
        {
            name: _shortened(clean_text(values[place], lowercase=False))
            for name, values in zip(names, cells, strict=True)
        }
        for place in places.tolist()
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _compared_models(
    evaluated: EvaluatedRun,
    prior: Float64Array,
    baselines: Baselines,
    split: SplitName,
    predictions: Predictions,
) -> dict[str, tuple[Predictions, float]]:
    """Return the predictions of each baseline for the rows of a split, and its threshold."""
    constant = np.tile(prior.astype(predictions.p.dtype), (len(predictions), 1))
    models = {"prior": (replace(predictions, p=constant), evaluated.task.threshold)}
    fitted = {"linear": baselines.linear, "boosting": baselines.boosting.baseline}
    for name, baseline in fitted.items():
        if baseline is not None:
            aligned = _align(baseline.predictions[split], predictions)
            threshold = baseline.threshold
            models[name] = (
                replace(aligned, group=predictions.group),
                evaluated.task.threshold if threshold is None else threshold,
            )
    return models


def _fit_prior(dataset: Dataset) -> Float64Array:
    """Return the class shares or the means of the training rows."""
    rows = np.flatnonzero(dataset.assignment == SPLIT_NAMES.index("train"))
    blocks = []
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        values = dataset.target_values(block)
        blocks.append(dataset.targets(block)[0] if values is None else values)
    weight = None if dataset.weight is None else dataset.weight[rows]
    return fit_prior(np.concatenate(blocks), weight)


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
