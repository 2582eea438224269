"""Write the evaluation of a split: its metrics, and its predictions or texts."""

from __future__ import annotations

from trainer.data.splits import SplitName
from trainer.metrics.predictions import Predictions
from trainer.report.predictions import predictions_to_parquet
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Evaluation
from trainer.tasks.evaluated import EvaluatedSamples
from trainer.workflows.plan import RunPlan, row_groups
from trainer.workflows.reporting.translations import write_translations


def write_split(
    run: RunDirectory,
    plan: RunPlan,
    split: SplitName,
    evaluated: EvaluatedSamples,
    epoch: int | None,
) -> None:
    """Write metrics and predictions, or texts, of the best weights for a split.

    Args:
        run: The run directory.
        plan: The plan of the run.
        split: The split.
        evaluated: Its metrics and predictions, with the decisions.
        epoch: The epoch of the best weights.

    Raises:
        StorageError: The run directory cannot be written.
    """
    metrics, rows = evaluated.metrics, evaluated.rows
    evaluation = Evaluation(metrics, split=split, checkpoint="best", epoch=epoch, rows=rows)
    run.write_evaluation(split, evaluation)
    if evaluated.predictions is not None:
        write_predictions(run, plan, split, evaluated.predictions)
    if evaluated.texts is not None:
        write_translations(run, plan.dataset, split, evaluated.texts)


def write_predictions(
    run: RunDirectory, plan: RunPlan, split: SplitName, predictions: Predictions
) -> None:
    """Write the predictions for a split, with their groups if the split is by group.

    Raises:
        StorageError: The run directory cannot be written.
    """
    groups = row_groups(plan, predictions.rows)
    content = predictions_to_parquet(predictions, plan.task.file_columns, groups)
    run.write_predictions(f"{split}.parquet", content)
