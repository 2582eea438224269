"""What a run with repeats or folds writes of its members: the aggregated metrics, mean and out-of-fold
predictions, and decisions. Does not import TensorFlow.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from trainer.assessment.decisions import choose_decisions
from trainer.config.members import Member
from trainer.data.out_of_fold import FoldPredictions, out_of_fold
from trainer.data.preprocessing import Preprocessing
from trainer.data.splits import SplitName
from trainer.metrics.predictions import Predictions
from trainer.report.aggregates import FoldAssignment, aggregate
from trainer.report.predictions import read_split_predictions
from trainer.runs.decisions import write_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Evaluation, Intervals
from trainer.tasks.task import Task
from trainer.workflows.events import MemberEnded
from trainer.workflows.plan import RunPlan
from trainer.workflows.reporting.splits import write_predictions


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
        write_predictions(run, plan, "validation", validation)
    if test is not None:
        write_predictions(run, plan, "test", test)
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
