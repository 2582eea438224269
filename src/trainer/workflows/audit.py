"""Audit the data of a config before training, and the labels of a run after it.

    config ─ read ─► table ─ split ─► splits, target ─ sample ─► subject ─ audit ─► findings
    run ─ predictions ─► likely label errors

`trainer.audit` has the checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer.audit.checks import audit
from trainer.audit.findings import SHOWN, Affected, Finding
from trainer.audit.labels import LabelIssue
from trainer.audit.loading import read_audited_table
from trainer.audit.run_labels import (
    files_of,
    label_issues_of,
    location,
    read_labeled_predictions,
)
from trainer.config.data import Data
from trainer.config.load import LoadedConfig
from trainer.config.locations import locate_problems, with_relative_paths
from trainer.config.task_rules import TASK_RULES
from trainer.config.translation import translates
from trainer.data.features import target_columns
from trainer.data.splits import SPLIT_NAMES
from trainer.engine.selection import choose_engine
from trainer.errors import ConfigError, Problem, RunError, pluralize
from trainer.prediction.predictor import open_predictor
from trainer.runs.directory import RunDirectory


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit.

    Attributes:
        name: The name of the config.
        rows: Rows of each nonempty split; for a run, of those with predictions.
        features: The number of feature columns.
        audited_rows: The number of audited rows if the table is too large for all.
        findings: Errors, then warnings, then notes.
        label_issues: For a run, likely label errors, the least probable label first.
        warnings: Warnings about the files.
    """

    name: str
    rows: dict[str, int]
    features: int
    audited_rows: int | None
    findings: tuple[Finding, ...]
    label_issues: tuple[LabelIssue, ...] = ()
    warnings: tuple[str, ...] = ()

    def count(self, severity: str) -> int:
        """Return the number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; notes are listed separately from findings."""
        findings = [finding.to_json() for finding in self.findings if finding.severity != "note"]
        notes = [finding.to_json() for finding in self.findings if finding.severity == "note"]
        return {
            "name": self.name,
            "rows": self.rows,
            "features": self.features,
            "audited_rows": self.audited_rows
            if self.audited_rows is not None
            else sum(self.rows.values()),
            "errors": self.count("error"),
            "findings": findings,
            "notes": notes,
            "label_issues": [
                {
                    "row": finding.row,
                    "label": finding.label,
                    "predicted": finding.predicted,
                    "probability": finding.probability,
                }
                for finding in self.label_issues
            ],
            "warnings": list(self.warnings),
        }


def audit_data(loaded: LoadedConfig) -> Audit:
    """Look for problems in the data of a config.

    Only a sample drawn by hash is audited if the table is too large for all rows.

    Raises:
        DataError: The table cannot be read or split, or its target cannot be interpreted.
        ConfigError: A setting does not fit the data.
    """
    config = loaded.config
    if translates(config.data):
        expected, fix = "a target of classes or numbers", "check it without --data"
        raise ConfigError(loaded.locate(Problem("", expected, "task: translate", fix, "data.task")))
    with locate_problems(loaded):
        streamed = choose_engine(config).engine == "streaming"
        split_table, audited = read_audited_table(config, streamed=streamed)
        findings = audit(audited, config)
    rows = {split: split_table.rows(split) for split in SPLIT_NAMES if split_table.rows(split)}
    audited_rows = len(audited.rows)
    return Audit(
        name=config.name,
        rows={str(split): count for split, count in rows.items()},
        features=len(audited.features),
        audited_rows=audited_rows if audited_rows < sum(rows.values()) else None,
        findings=tuple(_with_relative_paths(finding) for finding in findings),
        warnings=split_table.warnings,
    )


def _with_relative_paths(finding: Finding) -> Finding:
    """Return the finding with relative paths."""
    affected = finding.affected
    rows = tuple(_relative_path(location) for location in affected.rows)
    where = _relative_path(affected.where)
    return replace(finding, affected=replace(affected, where=where, rows=rows))


def _relative_path(location: str) -> str:
    return with_relative_paths(Problem(location, "", "")).where


def audit_labels(path: Path) -> Audit:
    """Look for likely label errors, according to the network of a run.

    Uses the predictions in `predictions/out_of_fold.parquet` if the run has folds, else those for its
    validation and test rows.

    Raises:
        RunError: The run does not exist, predicts numbers, or has no such predictions.
    """
    predictor = open_predictor(path, device="cpu", allow_custom=False)
    run, task, config = predictor.run, predictor.task, predictor.members[0].loaded.config
    target, prediction_names = task.target, task.prediction_names
    if not TASK_RULES[target.task].has_classes:
        found, fix = "a run that predicts numbers", "audit its data: trainer check --data CONFIG"
        if TASK_RULES[target.task].has_text:
            found, fix = "a run that translates", "its report.html has its worst translations"
        raise RunError(Problem(str(run.path), "a run that predicts classes", found, fix))
    frames = read_labeled_predictions(run, target, prediction_names)
    label_issues: list[LabelIssue] = []
    for frame in frames.values():
        label_issues += label_issues_of(frame, target, prediction_names)
    label_issues.sort(key=lambda issue: issue.probability)
    rows = {name: frame.height for name, frame in frames.items()}
    return Audit(
        name=config.name,
        rows=rows,
        features=0,
        audited_rows=None,
        findings=tuple(_label_finding(run, config.data, label_issues, sum(rows.values()))),
        label_issues=tuple(label_issues),
    )


def _label_finding(
    run: RunDirectory, data: Data, label_issues: Sequence[LabelIssue], rows: int
) -> list[Finding]:
    if not label_issues:
        return []
    table = files_of(run, data)
    locations = tuple(_relative_path(location(table, issue.row)) for issue in label_issues[:SHOWN])
    descriptions = [
        f"'{issue.label}' is likely '{issue.predicted}' (probability {issue.probability:.2g}) "
        f"at {location}"
        for issue, location in zip(label_issues, locations, strict=False)
    ]
    columns = target_columns(data)
    more = f" and {len(label_issues) - SHOWN:,} more" if len(label_issues) > SHOWN else ""
    return [
        Finding(
            kind="label_issues",
            severity="warning",
            affected=Affected(str(run.path), columns, locations, len(label_issues)),
            expected="labels that agree with a network that was not trained on them",
            found=f"{len(label_issues):,} of {pluralize(rows, 'label')} that it confidently "
            f"contradicts: {', '.join(descriptions)}{more}",
            effect="some are label errors, others are hard rows",
            fix="check them and correct wrong labels; --json lists all",
        )
    ]
