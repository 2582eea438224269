"""Evaluate the best trial of a sweep over the settings of a generator."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.data.splits import SplitName
from trainer.report.generation import FINDINGS
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Evaluation
from trainer.workflows.generation.measures import SampleMeasures
from trainer.workflows.generation.sample_findings import write_sample_findings
from trainer.workflows.generation.trained import load_generator, open_generator, recorded_data


def evaluate_best_trial(run: RunDirectory, splits: Sequence[SplitName]) -> None:
    """Measure samples of a trial against splits that were not evaluated, and write its findings.

    Raises:
        RunError: The run is damaged.
        DataError: The data have changed since training.
        StorageError: The run directory cannot be written.
    """
    opened = open_generator(run.path)
    config = opened.loaded.config
    has_findings = not config.evaluate.report or (run.samples / FINDINGS).exists()
    if not splits and has_findings:
        return
    dataset = recorded_data(opened)
    measures = SampleMeasures(config, dataset, load_generator(opened, config.runtime.device))
    manifest = run.read_manifest()
    for split in splits:
        evaluation = Evaluation(
            measures.metrics(split),
            split=split,
            checkpoint="best",
            epoch=manifest.best_epoch,
            rows=dataset.rows(split),
        )
        run.write_evaluation(split, evaluation)
    if config.evaluate.report:
        findings = write_sample_findings(run, dataset, measures)
        run.write_manifest(manifest.with_warnings(*findings.warnings))
