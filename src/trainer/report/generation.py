"""What a run of task: generate says about its samples, `samples/findings.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.assessment.generation_tables import TableComparison
from trainer.errors import pluralize
from trainer.report.text import number
from trainer.runs.directory import RunDirectory
from trainer.runs.evaluations import Evaluation
from trainer.runs.files import json_bytes, read_json

FINDINGS = "findings.json"
LABELS = {
    "frechet_distance": "Fréchet distance",
    "sample_precision": "precision of samples",
    "sample_recall": "recall of samples",
    "detection_auc": "ROC AUC of a classifier that separates them from rows",
}


@dataclass(frozen=True, slots=True)
class SampleFindings:
    """The findings about the samples of a run.

    Attributes:
        split: The split that they are compared with.
        sentence: The measures in one sentence.
        warnings: Collapse, a discriminator that wins, rows that are too close to training rows.
        comparison: The comparison of columns; None for images.
    """

    split: str
    sentence: str
    warnings: tuple[str, ...]
    comparison: TableComparison | None

    def content(self) -> bytes:
        """Return the content of the file."""
        comparison = None if self.comparison is None else self.comparison.to_json()
        return json_bytes(
            {
                "split": self.split,
                "sentence": self.sentence,
                "warnings": self.warnings,
                "comparison": comparison,
            }
        )


def samples_sentence(split: str, rows: int, evaluation: Evaluation) -> str:
    """Return the main measures of samples in one sentence."""
    parts = [
        f"{LABELS[name]} {number(value)}"
        for name, value in evaluation.metrics.items()
        if name in LABELS and value is not None
    ]
    noun = {"train": "training", "validation": "validation", "test": "test"}[split]
    return f"Samples compared with {pluralize(rows, f'{noun} row')}: {', '.join(parts)}."


def read_sample_findings(run: RunDirectory) -> Mapping[str, Any] | None:
    """Return the findings of a run as JSON values; None if it has none.

    Raises:
        RunError: The file is damaged.
    """
    path = run.samples / FINDINGS
    if not path.exists():
        return None
    value = read_json(path)
    return value if isinstance(value, dict) else None


def sample_warnings(run: RunDirectory) -> tuple[str, ...]:
    """Return the warnings about the samples of a run; none for other runs."""
    match read_sample_findings(run):
        case {"warnings": [*warnings]}:
            return tuple(map(str, warnings))
    return ()
