"""Evaluate a trained generator: measure its samples against each split, and say what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.data.splits import SplitName
from trainer.runs.evaluations import Evaluation
from trainer.workflows.generation.building import GenerationSetup
from trainer.workflows.generation.sample_findings import write_sample_findings
from trainer.workflows.session import InterruptCheck

if TYPE_CHECKING:
    from trainer.workflows.building import TrainingSetup
    from trainer.workflows.recording import Recording


def evaluate_samples(
    built: TrainingSetup,
    record: Recording,
    interrupted: InterruptCheck,
    splits: Sequence[SplitName],
) -> dict[str, dict[str, float]] | None:
    """Measure samples of the best weights against each split.

    Nothing is written if interrupted.

    Args:
        built: The networks, with their best weights.
        record: Writes the run directory.
        interrupted: Returns why evaluation should stop, or None.
        splits: The splits.

    Returns:
        Split → measure → value; None if interrupted.
    """
    assert isinstance(built, GenerationSetup)
    dataset = built.plan.dataset
    metrics: dict[SplitName, dict[str, float]] = {}
    for split in splits:
        if not dataset.rows(split):
            continue
        metrics[split] = built.measures.metrics(split)
        if (reason := interrupted()) is not None:
            record.set_stop_reason(reason)
            return None
    epoch = built.training.best_epoch
    for split, values in metrics.items():
        rows = dataset.rows(split)
        evaluation = Evaluation(values, split=split, checkpoint="best", epoch=epoch, rows=rows)
        record.run.write_evaluation(split, evaluation)
    return {str(split): values for split, values in metrics.items()}


def summarize_samples(built: TrainingSetup, record: Recording) -> str:
    """Write what the report says about the samples; return it in one sentence."""
    assert isinstance(built, GenerationSetup)
    findings = write_sample_findings(record.run, built.plan.dataset, built.measures)
    record.manifest = record.manifest.with_warnings(*findings.warnings)
    return findings.sentence
