"""What a run's answers come to: measures with intervals, beside two baselines, where they fail, in a
sentence. Everything follows from `predictions/`, `decisions.json` and the table; no TensorFlow.

Owns: which questions are put to `trainer.evaluation`, and `findings.json`. Does not own: the answers
(`recording`), the methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.config.schema import Config
from trainer.data.prepare import Dataset
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.evaluation import bootstrap as bootstrapped
from trainer.evaluation.baselines import fit_prior
from trainer.evaluation.bootstrap import bootstrap, paired_bootstrap
from trainer.evaluation.calibration import calibration_error
from trainer.evaluation.conformal import ConformalIntervals, empirical_coverage
from trainer.evaluation.intervals import ConfidenceInterval
from trainer.evaluation.metrics import SEPARATOR, compute_all_metrics
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.slices import worst_rows
from trainer.report.findings import (
    Difference,
    Findings,
    MetricValue,
    SplitFindings,
    WorstRow,
    write_findings,
)
from trainer.report.predictions import LINEAR, predictions_to_parquet, read_split_predictions
from trainer.report.summary import summary_sentence
from trainer.runs.directory import RunDirectory
from trainer.workflows.decisions import choose_decisions
from trainer.workflows.headline import compared
from trainer.workflows.linear_baseline import linear_predictions
from trainer.workflows.slicing import find_slices
from trainer.workflows.task import Task

_DRAWN_ROWS, _COMPARED_ROWS = 200_000_000, 40_000_000
"""Rows that are drawn at most for intervals, and for those of differences, which take four times as
long: large splits have fewer resamples. With more than ten classes a row takes longer, in proportion."""
_LEAST_RESAMPLES = 200
_WORST_ROWS = 20


@dataclass(frozen=True, slots=True)
class FoldData:
    """A table with its split, and what is asked of it before anything is chosen."""

    dataset: Dataset
    task: Task


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """What is judged.

    Attributes:
        run: The run directory, with its answers.
        config: The run's.
        task: What is asked, with what was chosen on the validation rows.
        parts: Its table, split as it was; one for each fold, where there are folds.
    """

    run: RunDirectory
    config: Config
    task: Task
    parts: tuple[FoldData, ...]

    @property
    def dataset(self) -> Dataset:
        """The table, split as it was for the first."""
        return self.parts[0].dataset


def make_findings(evaluated: EvaluatedRun) -> Findings:
    """Write what the answers of a run come to; also the answers of the linear baseline.

    Raises:
        RunError: Its files are damaged.
        StorageError: It cannot be written.
    """
    settings, task = evaluated.config.evaluate, evaluated.task
    ours = _answers(evaluated)
    baseline = _linear(evaluated)
    task_name = task.target.task
    names = compared(evaluated.config, task_name, ours.values())
    splits: dict[str, SplitFindings] = {
        split: _split(evaluated, answers, baseline, split, names) for split, answers in ours.items()
    }
    last = ours.get("test") or ours.get("validation") or ours["train"]
    slices, worst_slices = find_slices(evaluated.config, evaluated.dataset, last, task.threshold)
    findings = Findings(
        task=task_name,
        names=tuple(last.names),
        level=settings.confidence_level,
        sentence="",
        splits=splits,
        resamples=settings.resamples,
        seed=evaluated.config.seed,
        compared=names,
        slices=slices,
        worst_slices=worst_slices,
        worst_rows=_worst_rows(task, last),
    )
    findings = replace(findings, sentence=summary_sentence(findings))
    write_findings(evaluated.run, findings)
    return findings


def _answers(evaluated: EvaluatedRun) -> dict[SplitName, Predictions]:
    task = evaluated.task
    names = task.target.names
    found: dict[SplitName, Predictions] = {}
    for split in SPLIT_NAMES:
        answers = read_split_predictions(
            evaluated.run, split, task.target.task, names, task.prediction_names
        )
        if answers is not None:
            found[split] = answers
    return found


@dataclass(frozen=True, slots=True)
class _Linear:
    of: Mapping[SplitName, Predictions]
    threshold: float


def _linear(evaluated: EvaluatedRun) -> _Linear:
    """What linear models say: one for each fold; of the test rows the mean."""
    said: dict[SplitName, list[Predictions]] = {"validation": [], "test": []}
    for part in evaluated.parts:
        answers = linear_predictions(evaluated.config, part.task, part.dataset, tuple(said))
        for split in answers:
            said[split].append(answers[split])
    found = {split: _together(split, each) for split, each in said.items() if each}
    for split, one in found.items():
        content = predictions_to_parquet(one, evaluated.task.prediction_names)
        evaluated.run.write_predictions(f"{split}{LINEAR}.parquet", content)
    # It gets its own threshold, chosen for the same; without rows to choose on, the network's.
    settings = evaluated.config.evaluate.model_copy(update={"calibrate": False})
    decisions = choose_decisions(settings, evaluated.parts[0].task, found.get("validation"))
    chosen = decisions.threshold if "validation" in found else evaluated.task.threshold
    return _Linear(found, chosen)


def _together(split: SplitName, answers: list[Predictions]) -> Predictions:
    """Those of other rows beside each other, those of the same rows as their mean."""
    first = answers[0]
    if split == "test":
        return replace(first, p=np.stack([one.p for one in answers]).mean(axis=0))
    weights = [one.weight for one in answers if one.weight is not None]
    return replace(
        first,
        y=np.concatenate([one.y for one in answers]),
        p=np.concatenate([one.p for one in answers]),
        rows=np.concatenate([one.rows for one in answers]),
        weight=np.concatenate(weights) if weights else None,
    )


def _split(
    evaluated: EvaluatedRun,
    answers: Predictions,
    baseline: _Linear,
    split: SplitName,
    names: tuple[str, ...],
) -> SplitFindings:
    settings, task = evaluated.config.evaluate, evaluated.task
    task_name = task.target.task
    rows, most = len(answers), settings.resamples
    size = rows * max(1, len(answers.names) // 10)
    resamples, compared_resamples = (
        max(min(most, _LEAST_RESAMPLES), min(most, limit // max(1, size)))
        for limit in (_DRAWN_ROWS, _COMPARED_ROWS)
    )
    drawn: dict[str, Any] = {
        "confidence_level": settings.confidence_level,
        "seed": evaluated.config.seed,
    }
    threshold = task.threshold
    measures = bootstrap(answers, threshold=threshold, resamples=resamples, **drawn)
    found = SplitFindings(
        rows=len(answers),
        measures=_measured(measures),
        resamples=resamples,
        compared_resamples=compared_resamples,
    )
    if split != "train":
        prior = _prior(evaluated, answers)
        linear = replace(_aligned(baseline.of[split], answers), group=answers.group)
        drawn |= {"threshold": threshold, "names": names, "resamples": compared_resamples}
        over_prior = paired_bootstrap(answers, prior, **drawn)
        over_linear = paired_bootstrap(answers, linear, other_threshold=baseline.threshold, **drawn)
        found = replace(
            found,
            prior=_whole(compute_all_metrics(prior, threshold)),
            linear=_whole(compute_all_metrics(linear, baseline.threshold)),
            over_prior=_differences(over_prior),
            over_linear=_differences(over_linear),
        )
    if task_name != "regression":
        error = calibration_error(task_name, answers.y, answers.p, weight=answers.weight)
        found = replace(found, calibration_error=MetricValue.of(error, error, error).value)
    if task_name == "regression" and task.half_widths and split != "validation":
        fitted = ConformalIntervals(np.array(task.half_widths), settings.prediction_interval, 0)
        to_interval_scale = task.target.to_interval_scale
        covered = empirical_coverage(
            fitted,
            to_interval_scale(answers.y),
            to_interval_scale(answers.p),
            settings.confidence_level,
        )
        by_column = dict(zip(answers.names, covered, strict=True))
        found = replace(found, covered=_measured(by_column))
    return found


def _measured(measures: Mapping[str, ConfidenceInterval]) -> dict[str, MetricValue]:
    return {name: MetricValue.of(one.value, one.low, one.high) for name, one in measures.items()}


def _differences(found: Mapping[str, bootstrapped.Difference]) -> dict[str, Difference]:
    return {
        name: Difference.of(one.value, one.low, one.high, one.is_noise)
        for name, one in found.items()
    }


def _worst_rows(task: Task, answers: Predictions) -> tuple[WorstRow, ...]:
    places, losses = worst_rows(answers, _WORST_ROWS)
    actual = task.in_words(answers.y[places])
    return tuple(
        WorstRow(
            int(answers.rows[place]),
            actual[number] if isinstance(actual[number], str) else tuple(actual[number]),
            tuple(float(value) if np.isfinite(value) else None for value in answers.p[place]),
            MetricValue.of(loss, loss, loss).value,
        )
        for number, (place, loss) in enumerate(zip(places, losses, strict=True))
    )


def _prior(evaluated: EvaluatedRun, answers: Predictions) -> Predictions:
    """The shares of the classes, or the means, of the training rows."""
    dataset = evaluated.dataset
    rows = np.flatnonzero(dataset.assignment == SPLIT_NAMES.index("train"))
    values = dataset.target_values(rows)
    truths = dataset.targets(rows)[0] if values is None else values
    weight = None if dataset.weight is None else dataset.weight[rows]
    mean = fit_prior(truths, weight)
    return replace(answers, p=np.tile(mean, (len(answers), 1)).astype(answers.p.dtype))


def _aligned(other: Predictions, answers: Predictions) -> Predictions:
    """Those for the rows of `answers`, in their order."""
    order = np.argsort(other.rows)
    place = order[np.searchsorted(other.rows, answers.rows, sorter=order)]
    return other.take(place)


def _whole(measures: Mapping[str, float]) -> dict[str, float | None]:
    return {
        name: float(value) if np.isfinite(value) else None
        for name, value in measures.items()
        if SEPARATOR not in name
    }
