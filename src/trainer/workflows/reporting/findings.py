"""Write what follows from the predictions of a run, just trained or stored on disk: the findings, and
for repeats and folds the aggregated metrics, mean and out-of-fold predictions, and decisions.

`trainer.report.page` writes the page that shows them, once the manifest records how the run ended. Does
not import TensorFlow.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from math import inf, prod
from pathlib import Path

import numpy as np
import polars as pl

from trainer.assessment.baselines import MAX_ROWS
from trainer.assessment.boosting_baseline import (
    BoostingResult,
    estimated_seconds,
    start_boosting_baseline,
)
from trainer.assessment.decisions import choose_decisions
from trainer.assessment.findings import Baselines, EvaluatedRun, make_findings
from trainer.assessment.fold_baselines import FoldData
from trainer.assessment.linear_baseline import fit_linear_baseline
from trainer.config.load import LoadedConfig
from trainer.config.locations import locate_problems
from trainer.config.members import Member
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.data.out_of_fold import FoldPredictions, out_of_fold
from trainer.data.preprocessing import Preprocessing
from trainer.data.raw_rows import example_row
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.metrics.predictions import Predictions
from trainer.prediction.predictor import open_predictor
from trainer.prediction.trained_runs import load_run_table
from trainer.report.aggregates import FoldAssignment, aggregate
from trainer.report.predictions import (
    BOOSTING,
    LINEAR,
    predictions_to_parquet,
    read_split_predictions,
)
from trainer.report.summary import boosting_advice, summary_sentence
from trainer.runs.decisions import read_decisions, write_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Evaluation, Intervals
from trainer.runs.example import write_example
from trainer.runs.findings import write_findings
from trainer.runs.opening import open_run
from trainer.tasks.task import Task, make_task
from trainer.tasks.translation import TranslationTask
from trainer.workflows.events import MemberEnded
from trainer.workflows.explanations.image_examples import write_image_examples
from trainer.workflows.plan import RunPlan, TableCache, make_plan, row_groups
from trainer.workflows.reporting.translations import write_translation_findings
from trainer.workflows.session import TimeLimit

_BOOSTING_SHARE = 0.2
"""Fraction of a time limit that gradient boosting may take."""
_MAX_ROWS_WHILE_TRAINING = 100_000
"""More rows take memory that training needs."""
_LINEAR_EVALUATIONS = 300
"""Evaluations of the loss until the linear model of a classification has converged, typically."""


def write_evaluation(
    run: RunDirectory,
    plan: RunPlan,
    split: SplitName,
    metrics: Mapping[str, float],
    predictions: Predictions,
    epoch: int | None,
) -> None:
    """Write metrics and predictions of the best weights for a split.

    Args:
        run: The run directory.
        plan: The plan of the run.
        split: The split.
        metrics: The metrics.
        predictions: The predictions, with the decisions.
        epoch: The epoch of the best weights.

    Raises:
        StorageError: The run directory cannot be written.
    """
    rows = len(predictions.rows)
    evaluation = Evaluation(metrics, split=split, checkpoint="best", epoch=epoch, rows=rows)
    run.write_evaluation(split, evaluation)
    _write_predictions(run, plan, split, predictions)


def _write_predictions(
    run: RunDirectory, plan: RunPlan, split: SplitName, predictions: Predictions
) -> None:
    groups = row_groups(plan, predictions.rows)
    content = predictions_to_parquet(predictions, plan.task.file_columns, groups)
    run.write_predictions(f"{split}.parquet", content)


Boosting = Future[BoostingResult] | None
"""Gradient boosting that is being fitted, if it is."""


def start_boosting(
    config: Config, parts: Sequence[FoldData], limit: TimeLimit | None = None
) -> Boosting:
    """Start the gradient boosting of a report before training: it does not depend on the network.

    It is fitted by another process, on a core that most networks leave idle.

    Args:
        config: The config of the run.
        parts: The table with its splits, for each fold.
        limit: The time limit of the command.

    Returns:
        None if there is no report, or if the table is large.
    """
    dataset = parts[0].dataset
    rows = len(dataset.assignment)
    is_small = dataset.source.in_memory and rows <= _MAX_ROWS_WHILE_TRAINING
    if not config.evaluate.report or not is_small or isinstance(parts[0].task, TranslationTask):
        return None
    return start_boosting_baseline(config, parts, _max_boosting_seconds(limit))


def fold_parts(members: Sequence[LoadedConfig], tables: TableCache) -> tuple[FoldData, ...]:
    """Return the table with its splits, for each fold of a run with repeats or folds.

    Args:
        members: The configs of the members.
        tables: The tables that they are trained on.
    """
    folds = {member.config.data.split.fold: member for member in members}
    plans = [make_plan(member, tables, started=True) for member in folds.values()]
    return tuple(FoldData(plan.dataset, plan.task) for plan in plans)


def write_missing_findings(path: Path) -> None:
    """Write the findings of an evaluated run on disk if it has none.

    Raises:
        RunError: The run does not exist or is damaged.
        DataError: The data have changed since training.
        StorageError: The run directory cannot be written.
    """
    run = open_run(path).run
    has_evaluation = any(run.evaluation.glob("*.json"))
    if run.findings.exists() or not run.decisions.exists() or not has_evaluation:
        return
    members = open_predictor(run.path, device="cpu", allow_custom=False).members
    folds = {member.loaded.config.data.split.fold: member for member in members}
    parts = []
    for member in folds.values():
        with locate_problems(member.loaded):
            task = make_task(member.loaded.config, member.preprocessing.target)
            parts.append(FoldData(load_run_table(member), task))
    write_run_findings(run, members[0].loaded.config, tuple(parts))


def write_run_findings(
    run: RunDirectory,
    config: Config,
    parts: tuple[FoldData, ...],
    limit: TimeLimit | None = None,
    boosting: Boosting = None,
) -> str:
    """Write the findings of an evaluated run, or of the ensemble of its members.

    Args:
        run: The run directory.
        config: The config of the run or of a member.
        parts: The table with its splits, for each fold.
        limit: The time limit of the command.
        boosting: The gradient boosting, if it was started before training.

    Returns:
        The summary sentence.

    Raises:
        StorageError: The run directory cannot be written.
    """
    task = parts[0].task
    if isinstance(task, TranslationTask):
        return write_translation_findings(run, config, parts[0].dataset, task)
    decisions = read_decisions(run)
    assert decisions is not None, "an evaluated run has decisions"
    task = task.with_decisions(decisions)
    if decisions.coverage is not None:
        settings = config.evaluate.model_copy(update={"prediction_interval": decisions.coverage})
        config = config.model_copy(update={"evaluate": settings})
    write_example(run, example_row(parts[0].dataset))
    predictions = _read_predictions(run, task)
    write_image_examples(run, parts[0].dataset, predictions, task.threshold)
    if boosting is None:
        boosting = start_boosting_baseline(config, parts, _max_boosting_seconds(limit))
    baselines = _fit_baselines(run, config, task, parts, boosting)
    findings = make_findings(EvaluatedRun(config, task, parts, predictions), baselines)
    advice = boosting_advice(findings, is_ensemble=config.fit.folds is not None)
    findings = replace(findings, sentence=f"{summary_sentence(findings)} {advice}".strip())
    write_findings(run, findings)
    return findings.sentence


def _fit_baselines(
    run: RunDirectory,
    config: Config,
    task: Task,
    parts: tuple[FoldData, ...],
    boosting: Future[BoostingResult],
) -> Baselines:
    """Fit the linear model of a run, and write the predictions of the baselines."""
    names = config.evaluate.baselines
    is_linear = names == "auto" or "linear" in names
    linear = fit_linear_baseline(config, task, parts) if is_linear else None
    baselines = Baselines(linear, boosting.result())
    fitted = {LINEAR: linear, BOOSTING: baselines.boosting.baseline}
    for suffix, baseline in fitted.items():
        for split, predictions in {} if baseline is None else baseline.predictions.items():
            content = predictions_to_parquet(predictions, task.prediction_names)
            run.write_predictions(f"{split}{suffix}.parquet", content)
    return baselines


def _max_boosting_seconds(limit: TimeLimit | None) -> float:
    return inf if limit is None else _BOOSTING_SHARE * limit.seconds


def _read_predictions(run: RunDirectory, task: Task) -> dict[SplitName, Predictions]:
    """Return the predictions of each split that has any, in the order of the splits."""
    target = task.target
    predictions = {
        split: read_split_predictions(run, split, target.task, target.names, task.file_columns)
        for split in SPLIT_NAMES
    }
    return {split: stored for split, stored in predictions.items() if stored is not None}


def aggregate_members(
    run: RunDirectory, members: Sequence[Member], ended: Sequence[MemberEnded], plan: RunPlan
) -> Intervals:
    """Write the aggregated metrics, the predictions of the ensemble, and its decisions.

    Raises:
        RunError: Files of a member are damaged.
        StorageError: The run directory cannot be written.
    """
    finished = [member for member in ended if member.status == "finished"]
    by_number = {member.number: member for member in members}
    finished_members = [by_number[member.number] for member in finished]
    folding = None
    if finished_members[0].fold is not None:
        ratios = [_validation_share(member.run) for member in finished]
        folding = FoldAssignment(
            [member.fold or 0 for member in finished_members], float(np.mean(ratios))
        )
    aggregates = aggregate([member.metrics for member in finished], folding)
    for split, intervals in aggregates.items():
        run.write_evaluation(
            split,
            Evaluation(
                {name: interval.mean for name, interval in intervals.items()},
                split=split,
                members=len(finished),
                intervals=intervals,
            ),
        )
    runs = [RunDirectory(member.run) for member in finished]
    names = plan.task.file_columns
    validation = _mean_predictions(runs, "validation", plan) if folding is None else None
    if folding is not None:
        fold_predictions = [
            _fold_predictions(member_run, member, plan)
            for member_run, member in zip(runs, finished_members, strict=True)
        ]
        table = plan.dataset.table.frame.select(plan.task.target.columns)
        frame = out_of_fold(fold_predictions, table, names)
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        run.write_predictions(run.out_of_fold.name, buffer.getvalue())
        validation = _with_targets(frame, plan)
    # Its members' predictions are calibrated.
    settings = plan.config.evaluate.model_copy(update={"calibrate": False})
    inherited = None if plan.inherited is None else replace(plan.inherited, temperature=1.0)
    write_decisions(run, choose_decisions(settings, plan.task, validation, inherited))
    test = _mean_predictions(runs, "test", plan)
    if validation is not None:
        _write_predictions(run, plan, "validation", validation)
    if test is not None:
        _write_predictions(run, plan, "test", test)
    return aggregates


def _validation_share(run: Path) -> float:
    splits = RunDirectory(run).read_manifest().splits
    return splits["validation"] / splits["train"]


def _mean_predictions(
    runs: Sequence[RunDirectory], split: SplitName, plan: RunPlan
) -> Predictions | None:
    """Return the mean of the members' predictions for rows that all of them have, or None."""
    target = plan.task.target
    predictions = []
    for run in runs:
        member_task = _member_task(run, plan)
        member_predictions = read_split_predictions(
            run, split, target.task, member_task.target.names, member_task.file_columns
        )
        if member_predictions is not None:
            predictions.append(member_predictions)
    if not predictions:
        return None
    decoded = np.stack([member.all_predictions() for member in predictions]).mean(axis=0)
    width = predictions[0].p.shape[1]
    return replace(
        predictions[0],
        names=target.names,
        p=decoded[:, :width],
        quantiles=decoded[:, width:] if plan.task.quantiles else None,
    )


def _member_task(run: RunDirectory, plan: RunPlan) -> Task:
    """Return the task of a member.

    The name of a class with several spellings (`ignore_case`) is the most frequent one in the member's
    training rows. The order of classes is the same.
    """
    target = Preprocessing.from_json(run.read_preprocessing()).target
    return replace(plan.task, target=target)


def _with_targets(frame: pl.DataFrame, plan: RunPlan) -> Predictions:
    """Return out-of-fold predictions with the targets of their rows."""
    target, rows = plan.task.target, frame["row"].to_numpy()
    values = plan.dataset.target_values(rows)
    weight = plan.dataset.weight
    decoded = frame.select(plan.task.file_columns).to_numpy()
    width = len(plan.task.prediction_names)
    return Predictions(
        task=target.task,
        names=target.names,
        y=plan.dataset.targets(rows)[0] if values is None else values,
        p=decoded[:, :width],
        rows=rows,
        weight=None if weight is None else weight[rows].astype(np.float64),
        quantiles=decoded[:, width:] if plan.task.quantiles else None,
    )


def _fold_predictions(run: RunDirectory, member: Member, plan: RunPlan) -> FoldPredictions:
    names = _member_task(run, plan).file_columns
    frame = pl.read_parquet(io.BytesIO(run.read_predictions("validation.parquet")))
    predictions = frame.select(names).to_numpy()
    return FoldPredictions(frame["row"].to_numpy(), predictions, member.fold or 0, member.repeat)


def seconds_after_training(
    plan: RunPlan, limit: TimeLimit, networks: int = 1, folds: int = 1
) -> float:
    """Estimate the CPU seconds of evaluation and report.

    The constants are measured: evaluation, intervals and slices take longer for more rows, the linear
    baseline for more inputs and outputs.

    Args:
        plan: The plan of one of the networks.
        limit: The time limit of the command.
        networks: Their number.
        folds: The number of folds.
    """
    dataset, outputs = plan.dataset, len(plan.task.prediction_names)
    rows = sum(dataset.rows(split) for split in SPLIT_NAMES)
    seconds = 1.0 + rows * (2e-6 * networks + 1e-5 * outputs)
    if not plan.config.evaluate.report or plan.task.kind.rules.has_text:
        return seconds
    seconds += 2.0 + rows * (5e-5 + 1e-5 * outputs)
    boosting = estimated_seconds(plan.config, FoldData(dataset, plan.task), folds)
    if plan.config.evaluate.baselines == "auto" and boosting > _max_boosting_seconds(limit):
        boosting = 0.0
    linear = 0.0
    if TASK_RULES[plan.task.name].has_classes:
        preprocessing = dataset.preprocessing.with_linear_scaling()
        inputs = preprocessing.input_count
        if preprocessing.image is not None:
            inputs -= prod(preprocessing.image.spec.shape)
        # Multiplying by a sparse matrix takes about ten times as long for an entry.
        inputs += 9 * sum(column.slots for column in preprocessing.texts)
        evaluation = min(dataset.rows("train"), MAX_ROWS) * outputs * (6e-10 * inputs + 2e-8)
        linear = _LINEAR_EVALUATIONS * folds * evaluation
    # In two processes.
    return seconds + max(linear, boosting)
