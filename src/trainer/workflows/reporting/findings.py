"""Write the findings of a run from its predictions, just trained or stored on disk.

`trainer.report.page` writes the page that shows them, once the manifest records how the run ended. Does
not import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from math import inf, prod
from pathlib import Path

from trainer.assessment.baselines import MAX_ROWS
from trainer.assessment.boosting_baseline import (
    BoostingResult,
    estimated_seconds,
    start_boosting_baseline,
)
from trainer.assessment.findings import Baselines, EvaluatedRun, make_findings
from trainer.assessment.fold_baselines import FoldData
from trainer.assessment.linear_baseline import fit_linear_baseline
from trainer.config.load import LoadedConfig
from trainer.config.locations import locate_problems
from trainer.config.schema import Config
from trainer.config.task_rules import TASK_RULES
from trainer.data.raw_rows import example_row
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.prediction.predictor import open_predictor
from trainer.prediction.trained_runs import load_run_table
from trainer.report.predictions import (
    BOOSTING,
    LINEAR,
    StoredPredictions,
    predictions_to_parquet,
    read_split_predictions,
)
from trainer.report.summary import boosting_advice, summary_sentence
from trainer.runs.decisions import read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.example import write_example
from trainer.runs.findings import write_findings
from trainer.runs.opening import open_run
from trainer.tasks.task import Task, make_task
from trainer.workflows.explanations.image_examples import write_image_examples
from trainer.workflows.plan import RunPlan, TableCache, make_plan
from trainer.workflows.reporting.translations import write_translation_findings
from trainer.workflows.session import TimeLimit

_BOOSTING_SHARE = 0.2
"""Fraction of a time limit that gradient boosting may take."""
_MAX_ROWS_WHILE_TRAINING = 100_000
"""More rows take memory that training needs."""
_LINEAR_EVALUATIONS = 300
"""Evaluations of the loss until the linear model of a classification has converged, typically."""


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
    if not config.evaluate.report or not is_small or parts[0].task.text is not None:
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
    if task.text is not None:
        return write_translation_findings(run, config, parts[0].dataset, task.text)
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


def _read_predictions(run: RunDirectory, task: Task) -> StoredPredictions[SplitName]:
    """Return the predictions of each split that has any, in the order of the splits."""
    target = task.target
    return StoredPredictions(
        SPLIT_NAMES,
        lambda split: read_split_predictions(
            run, split, target.task, target.names, task.file_columns
        ),
    )


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
