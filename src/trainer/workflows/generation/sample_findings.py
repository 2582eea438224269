"""The findings about the samples of a run. Importing this module does not import TensorFlow."""

from __future__ import annotations

from trainer.assessment.generation_measures import failures
from trainer.data.generation import GenerationData
from trainer.data.splits import SplitName
from trainer.report.generation import FINDINGS, SampleFindings, samples_sentence
from trainer.runs.directory import RunDirectory
from trainer.runs.log import read_log
from trainer.runs.samples import write_sample
from trainer.workflows.generation.measures import SampleMeasures

_REPORTED: tuple[SplitName, ...] = ("test", "validation", "train")


def write_sample_findings(
    run: RunDirectory, dataset: GenerationData, measures: SampleMeasures
) -> SampleFindings:
    """Compare samples with the test rows, else with the validation or training rows, which must have
    been evaluated; write and return the findings.

    Raises:
        StorageError: The run directory cannot be written.
    """
    split = next(name for name in _REPORTED if dataset.rows(name))
    comparison = measures.compare(split)
    history = [
        {name: value for name, value in epoch.items() if isinstance(value, int | float)}
        for epoch in read_log(run.metrics)
    ]
    warnings = (*failures(history), *(() if comparison is None else comparison.warnings))
    sentence = samples_sentence(split, dataset.rows(split), run.read_evaluations()[split])
    findings = SampleFindings(split, sentence, warnings, comparison)
    write_sample(run, FINDINGS, findings.content())
    return findings
