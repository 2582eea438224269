"""Evaluate a trained generator: measure its samples against each split, and say what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainer.assessment.generation_measures import failures
from trainer.data.splits import SplitName
from trainer.report.generation import FINDINGS, SampleFindings, samples_sentence
from trainer.runs.evaluations import Evaluation
from trainer.runs.log import read_log
from trainer.runs.samples import write_sample
from trainer.workflows.generation.building import GenerationSetup
from trainer.workflows.session import InterruptCheck

if TYPE_CHECKING:
    from trainer.workflows.building import TrainingSetup
    from trainer.workflows.recording import Recording

_REPORTED: tuple[SplitName, ...] = ("test", "validation", "train")


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
        comparison = built.measures.compare(split)
        more = {} if comparison is None else comparison.metrics
        metrics[split] = {**built.measures.measure(split), **more}
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
    dataset = built.plan.dataset
    split = next(name for name in _REPORTED if dataset.rows(name))
    comparison = built.measures.compare(split)
    history = [
        {name: value for name, value in epoch.items() if isinstance(value, int | float)}
        for epoch in read_log(record.run.metrics)
    ]
    warnings = (*failures(history), *(() if comparison is None else comparison.warnings))
    record.manifest = record.manifest.with_warnings(*warnings)
    sentence = samples_sentence(split, dataset.rows(split), record.run.read_evaluations()[split])
    findings = SampleFindings(split, sentence, warnings, comparison)
    write_sample(record.run, FINDINGS, findings.content())
    return sentence
