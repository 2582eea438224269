"""Audit the data of a config before training, and the labels of a run after it. No TensorFlow.

    config ─ read ─► table ─ split ─► splits, target ─ sample ─► subject ─ audit ─► findings
    run ─ predictions ─► labels that the network doubts

`trainer.audit` has the checks.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trainer.audit.checks import audit
from trainer.audit.findings import SHOWN, Finding, count_text
from trainer.audit.labels import LabelIssue, find_label_issues
from trainer.audit.loading import read_audited_table
from trainer.config.data import Data
from trainer.config.load import LoadedConfig
from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import Float64Array
from trainer.data.features import target_columns
from trainer.data.out_of_fold import out_of_fold_names
from trainer.data.preprocessing import Preprocessing
from trainer.data.sources import file_format
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.data.tables import SourceFile, Table
from trainer.data.targets import FittedTarget
from trainer.engine.selection import choose_engine
from trainer.errors import DataError, Problem, RunError, command_text
from trainer.runs.directory import RunDirectory
from trainer.runs.opening import open_run
from trainer.workflows.plan import locate_problems, with_relative_paths
from trainer.workflows.task import make_task
from trainer.workflows.trained_runs import read_run_config


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit.

    Attributes:
        name: The name of the config.
        rows: Rows of each nonempty split; for a run, of those with predictions.
        features: The number of feature columns.
        audited_rows: The number of audited rows if the table is too large for all.
        findings: Faults, then warnings, then notes.
        label_issues: For a run, rows with doubtful labels, the least probable first.
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
    rows = tuple(_relative_path(location) for location in finding.rows)
    return replace(finding, where=_relative_path(finding.where), rows=rows)


def _relative_path(location: str) -> str:
    return with_relative_paths(Problem(location, "", "")).where


def audit_labels(path: Path) -> Audit:
    """Look for rows whose labels the network of a run doubts.

    Uses the predictions in `predictions/out_of_fold.parquet` if the run has folds, else those for its
    validation and test rows.

    Raises:
        RunError: The run does not exist, predicts numbers, or has no such predictions.
    """
    run = open_run(path).run
    loaded = read_run_config(run)
    target = _target(run)
    if not TASK_RULES[target.task].has_classes:
        found, fix = "a run that predicts numbers", "audit its data: trainer check --data CONFIG"
        raise RunError(Problem(str(run.path), "a run that predicts classes", found, fix))
    prediction_names = make_task(loaded.config, target).prediction_names
    frames = _read_predictions(run, target, prediction_names)
    label_issues: list[LabelIssue] = []
    for frame in frames.values():
        label_issues += _find_label_issues(frame, target, prediction_names)
    label_issues.sort(key=lambda issue: issue.probability)
    table = _files(run, loaded.config.data)
    rows = {name: frame.height for name, frame in frames.items()}
    return Audit(
        name=loaded.config.name,
        rows=rows,
        features=0,
        audited_rows=None,
        findings=tuple(_label_finding(run, table, label_issues, sum(rows.values()))),
        label_issues=tuple(label_issues),
    )


def _prediction_fix(run: RunDirectory) -> str:
    """Return the command that gives a run predictions for rows outside its training rows."""
    if run.read_manifest().status != "finished":
        return f"finish it: {command_text('resume', run.path)}"
    return f"train it with folds: {command_text('fit', run.config, 'fit.folds=5')}"


def _target(run: RunDirectory) -> FittedTarget:
    """Return the fitted target of a run, or of its first member."""
    members = sorted(run.members.iterdir()) if run.members.is_dir() else []
    first_run = RunDirectory(members[0]) if members else run
    try:
        return Preprocessing.from_json(first_run.read_preprocessing()).target
    except DataError as error:
        where = str(first_run.preprocessing)
        raise RunError(problem.at(where) for problem in error.problems) from error


def _read_predictions(
    run: RunDirectory, target: FittedTarget, prediction_names: tuple[str, ...]
) -> dict[str, pl.DataFrame]:
    """Return the predictions of a run by kind of rows: `row`, `actual_<column>` and the predictions."""
    frames: dict[str, tuple[pl.DataFrame, Mapping[str, str]]] = {}
    if run.out_of_fold.is_file():
        frame = _parquet(run, run.out_of_fold.name)
        frames["out of fold"] = frame, out_of_fold_names(target.columns, prediction_names).target
    else:
        splits: tuple[SplitName, ...] = ("validation", "test")
        for split in splits:
            if not (run.predictions / f"{split}.parquet").is_file():
                continue
            frame = _parquet(run, f"{split}.parquet")
            many_columns = len(target.columns) > 1 or target.listed
            names = target.names if target.listed else target.columns
            actual = {name: f"actual_{name}" if many_columns else "actual" for name in names}
            if set(actual.values()) <= set(frame.columns):
                frames[split] = frame, actual
    if not frames:
        raise RunError(
            Problem(
                str(run.predictions),
                "predictions and labels of rows that the network was not trained on",
                "no out_of_fold.parquet or validation.parquet with both",
                _prediction_fix(run),
            )
        )
    for frame, columns in frames.values():
        missing = [
            name
            for name in ("row", *columns.values(), *prediction_names)
            if name not in frame.columns
        ]
        if missing:
            fix = "restore the file from a complete copy of the run"
            raise RunError(
                Problem(str(run.predictions), f"a column '{missing[0]}'", "no such column", fix)
            )
    return {
        name: frame.select("row", *(pl.col(at).alias(f"actual_{of}") for of, at in columns.items()),
                           *prediction_names)
        for name, (frame, columns) in frames.items()
    }  # fmt: skip


def _parquet(run: RunDirectory, name: str) -> pl.DataFrame:
    try:
        return pl.read_parquet(io.BytesIO(run.read_predictions(name)))
    except pl.exceptions.PolarsError as error:
        where, fix = str(run.predictions / name), "restore the file from a complete copy of the run"
        raise RunError(Problem(where, "a Parquet file", str(error).splitlines()[0], fix)) from error


def _find_label_issues(
    frame: pl.DataFrame, target: FittedTarget, prediction_names: tuple[str, ...]
) -> list[LabelIssue]:
    """Return the label issues among predictions, for yes/no columns those of each column."""
    if f"actual_{target.columns[0]}" in frame.columns:
        labels = frame.select(pl.col(f"actual_{name}").alias(name) for name in target.columns)
        y, has_label = target.encode(labels)
    else:  # a column for each label of the lists
        y = frame.select(f"actual_{name}" for name in target.names).to_numpy().astype(np.float32)
        has_label = np.ones(len(y), np.bool_)
    labeled = np.flatnonzero(has_label)
    rows = frame["row"].to_numpy().astype(np.int64)[labeled]
    p: Float64Array = frame.select(prediction_names).to_numpy().astype(np.float64)[labeled]
    rules = TASK_RULES[target.task]
    if rules.predicts_most_likely:
        return find_label_issues(rows, y[labeled].argmax(axis=1), p, target.classes)
    label_issues = []
    for column, name in enumerate(target.names if target.listed else target.columns):
        no, yes = (f"not {name}", name) if rules.has_several_labels else target.classes
        both = np.stack([1 - p[:, column], p[:, column]], axis=1)
        label_issues += find_label_issues(
            rows, y[labeled, column].astype(np.int64), both, (no, yes)
        )
    return label_issues


def _files(run: RunDirectory, data: Data) -> Table:
    """Return the files of a run, which are not read, to locate its rows."""
    files = tuple(
        SourceFile(file.path, file.bytes, file.rows, file.sha256)
        for file in run.read_manifest().data
    )
    formats = tuple(file_format(Path(file.path), data.format) for file in files)
    return Table(pl.DataFrame(), files, None, data.csv, formats)


def _place(table: Table, row: int) -> str:
    try:
        return table.where(row)
    except (OSError, IndexError, DataError):  # the files have moved or changed
        return f"row {row + 1} of {table.name}"


def _label_finding(
    run: RunDirectory, table: Table, label_issues: Sequence[LabelIssue], rows: int
) -> list[Finding]:
    if not label_issues:
        return []
    locations = tuple(_relative_path(_place(table, issue.row)) for issue in label_issues[:SHOWN])
    descriptions = [
        f"'{issue.label}' is likely '{issue.predicted}' (probability {issue.probability:.2g}) "
        f"at {location}"
        for issue, location in zip(label_issues, locations, strict=False)
    ]
    more = f" and {len(label_issues) - SHOWN:,} more" if len(label_issues) > SHOWN else ""
    return [
        Finding(
            kind="label_issues",
            severity="warning",
            where=str(run.path),
            columns=target_columns(read_run_config(run).config.data),
            rows=locations,
            count=len(label_issues),
            expected="labels that agree with a network that was not trained on them",
            found=f"{len(label_issues):,} of {count_text(rows, 'label')} that it confidently "
            f"contradicts: {', '.join(descriptions)}{more}",
            meaning="some are wrong labels and some are hard rows",
            fix="check them and correct wrong labels; --json lists all",
        )
    ]
