"""What the networks of one run come to together: means and intervals, the mean of their answers,
out-of-fold answers, and what is chosen on them.

Owns: which files of a run with repeats or folds follow from those of its members. Does not own: training
these (`members`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from trainer.config.members import Member
from trainer.data.out_of_fold import FoldPredictions, out_of_fold
from trainer.data.preprocessing import Preprocessing
from trainer.data.splits import SplitName
from trainer.evaluation.predictions import Predictions
from trainer.report.aggregates import FoldAssignment, aggregate
from trainer.report.predictions import predictions_to_parquet, read_split_predictions
from trainer.runs.decisions import write_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Evaluation, Intervals
from trainer.workflows.decisions import choose_decisions
from trainer.workflows.pack_events import MemberEnded
from trainer.workflows.plan import RunPlan, row_groups
from trainer.workflows.task import Task


def aggregate_members(
    run: RunDirectory, members: Sequence[Member], ended: Sequence[MemberEnded], plan: RunPlan
) -> Intervals:
    """Write what the members of a run score, what they say together, and what follows from it.

    Raises:
        RunError: A member's files are damaged.
        StorageError: The run cannot be written.
    """
    finished = [one for one in ended if one.status == "finished"]
    by_number = {member.number: member for member in members}
    own = [by_number[one.number] for one in finished]
    folding = None
    if own[0].fold is not None:
        ratios = [_validation_share(one.run) for one in finished]
        folding = FoldAssignment([member.fold or 0 for member in own], float(np.mean(ratios)))
    aggregates = aggregate([one.metrics for one in finished], folding)
    for split, measured in aggregates.items():
        run.write_evaluation(
            split,
            Evaluation(
                {name: one.mean for name, one in measured.items()},
                split=split,
                members=len(finished),
                intervals=measured,
            ),
        )
    runs = [RunDirectory(one.run) for one in finished]
    names = plan.task.prediction_names
    validation = _mean_answers(runs, "validation", plan) if folding is None else None
    if folding is not None:
        answers = [_fold_answers(one, member, plan) for one, member in zip(runs, own, strict=True)]
        table = plan.dataset.table.frame.select(plan.task.target.columns)
        frame = out_of_fold(answers, table, names)
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        run.write_predictions(run.out_of_fold.name, buffer.getvalue())
        validation = _as_answers(frame, plan)
    # Its members' answers are calibrated.
    settings = plan.config.evaluate.model_copy(update={"calibrate": False})
    inherited = None if plan.inherited is None else replace(plan.inherited, temperature=1.0)
    write_decisions(run, choose_decisions(settings, plan.task, validation, inherited))
    for split, said in (("validation", validation), ("test", _mean_answers(runs, "test", plan))):
        if said is not None:
            groups = row_groups(plan, said.rows)
            run.write_predictions(f"{split}.parquet", predictions_to_parquet(said, names, groups))
    return aggregates


def _validation_share(run: Path) -> float:
    splits = RunDirectory(run).read_manifest().splits
    return splits["validation"] / splits["train"]


def _mean_answers(
    runs: Sequence[RunDirectory], split: SplitName, plan: RunPlan
) -> Predictions | None:
    """The mean of what the members say of rows that all of them have; None where there are none."""
    target = plan.task.target
    there = []
    for run in runs:
        own = _own_question(run, plan)
        found = read_split_predictions(
            run, split, target.task, own.target.names, own.prediction_names
        )
        if found is not None:
            there.append(found)
    if not there:
        return None
    p = np.stack([one.p for one in there]).mean(axis=0)
    return replace(there[0], names=target.names, p=p)


def _own_question(run: RunDirectory, plan: RunPlan) -> Task:
    """The question as a member asks it: a class that is spelled in several ways (`ignore_case`) has the
    spelling that is most frequent in the member's own training rows. The order of classes is the same.
    """
    target = Preprocessing.from_json(run.read_preprocessing()).target
    return replace(plan.task, target=target)


def _as_answers(frame: pl.DataFrame, plan: RunPlan) -> Predictions:
    """Out-of-fold answers, with what is true of their rows."""
    target, rows = plan.task.target, frame["row"].to_numpy()
    values = plan.dataset.target_values(rows)
    weight = plan.dataset.weight
    return Predictions(
        task=target.task,
        names=target.names,
        y=plan.dataset.targets(rows)[0] if values is None else values,
        p=frame.select(plan.task.prediction_names).to_numpy(),
        rows=rows,
        weight=None if weight is None else weight[rows].astype(np.float64),
    )


def _fold_answers(run: RunDirectory, member: Member, plan: RunPlan) -> FoldPredictions:
    names = _own_question(run, plan).prediction_names
    frame = pl.read_parquet(io.BytesIO(run.read_predictions("validation.parquet")))
    answers = frame.select(names).to_numpy()
    return FoldPredictions(frame["row"].to_numpy(), answers, member.fold or 0, member.repeat)
