"""The audit of a config's data before training, and of a run's labels after it. No TensorFlow.

    config ─ read ─► table ─ divide ─► splits, target ─ sample ─► subject ─ audit ─► findings
    run ─ predictions ─► labels that the network doubts

Owns: what is read, how much of it, and what is audited. Does not own: the checks (`trainer.data.audit`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trainer.config.data import Data
from trainer.config.load import LoadedConfig
from trainer.data.arrays import Float64Array
from trainer.data.audit.checks import audit
from trainer.data.audit.findings import SHOWN, Finding, count_text
from trainer.data.audit.labels import LabelIssue, find_label_issues
from trainer.data.audit.loading import read_audited_table
from trainer.data.features import target_columns
from trainer.data.out_of_fold import out_of_fold_names
from trainer.data.preprocessing import Preprocessing
from trainer.data.sources import file_format
from trainer.data.splits import SPLIT_NAMES, SplitName
from trainer.data.tables import SourceFile, Table
from trainer.data.targets import FittedTarget
from trainer.errors import DataError, Problem, RunError, command_text
from trainer.runs.directory import RunDirectory
from trainer.runs.opening import open_run
from trainer.workflows.engines import choose_engine
from trainer.workflows.plan import locate_problems, with_relative_paths
from trainer.workflows.task import make_task
from trainer.workflows.trained_runs import read_run_config


@dataclass(frozen=True, slots=True)
class Audit:
    """What was looked at, and what was found.

    Attributes:
        name: Of the config.
        rows: Rows of each split that has some; of a run, of those that it has answers for.
        features: Feature columns.
        looked_at: Rows that were looked at, where the table is too large for all.
        findings: Faults, then warnings, then notes.
        suspects: Of a run: the rows whose labels are doubted, the least probable first.
        warnings: What is odd in the files.
    """

    name: str
    rows: dict[str, int]
    features: int
    looked_at: int | None
    findings: tuple[Finding, ...]
    suspects: tuple[LabelIssue, ...] = ()
    warnings: tuple[str, ...] = ()

    def count(self, severity: str) -> int:
        """How many findings are of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Plain data; notes are no findings and stand apart."""
        findings = [one.to_json() for one in self.findings if one.severity != "note"]
        notes = [one.to_json() for one in self.findings if one.severity == "note"]
        return {
            "name": self.name,
            "rows": self.rows,
            "features": self.features,
            "looked_at": self.looked_at if self.looked_at is not None else sum(self.rows.values()),
            "errors": self.count("error"),
            "findings": findings,
            "notes": notes,
            "suspects": [
                {
                    "row": one.row,
                    "given": one.label,
                    "likely": one.predicted,
                    "probability": one.probability,
                }
                for one in self.suspects
            ],
            "warnings": list(self.warnings),
        }


def audit_data(loaded: LoadedConfig) -> Audit:
    """Look for problems in the data of a config.

    Of a table too large for all of its rows, those are looked at that a hash draws.

    Raises:
        DataError: The table cannot be read or split, or its target cannot be understood.
        ConfigError: A setting does not fit the data.
    """
    config = loaded.config
    with locate_problems(loaded):
        streamed = choose_engine(config).engine == "streaming"
        division, audited = read_audited_table(config, streamed=streamed)
        findings = audit(audited, config)
    rows = {split: division.rows(split) for split in SPLIT_NAMES if division.rows(split)}
    looked_at = len(audited.rows)
    return Audit(
        name=config.name,
        rows={str(split): count for split, count in rows.items()},
        features=len(audited.features),
        looked_at=looked_at if looked_at < sum(rows.values()) else None,
        findings=tuple(_shown(finding) for finding in findings),
        warnings=division.warnings,
    )


def _shown(finding: Finding) -> Finding:
    """The finding with paths as a user would type them."""
    rows = tuple(_path_shown(place) for place in finding.rows)
    return replace(finding, where=_path_shown(finding.where), rows=rows)


def _path_shown(place: str) -> str:
    return with_relative_paths(Problem(place, "", "")).where


def audit_labels(path: Path) -> Audit:
    """Look for rows whose labels a run's network doubts.

    Answers are those of `predictions/out_of_fold.parquet` where the run has folds, else those for its
    validation and test rows.

    Raises:
        RunError: There is no such run, it predicts numbers, or it has no such answers.
    """
    run = open_run(path).run
    loaded = read_run_config(run)
    target = _target(run)
    if target.task == "regression":
        found, fix = "one that predicts numbers", "audit its data: trainer check --data CONFIG"
        raise RunError(Problem(str(run.path), "a run that predicts classes", found, fix))
    answers = make_task(loaded.config, target).prediction_names
    frames = _answered(run, target, answers)
    suspects: list[LabelIssue] = []
    for frame in frames.values():
        suspects += _doubted(frame, target, answers)
    suspects.sort(key=lambda one: one.probability)
    table = _files(run, loaded.config.data)
    rows = {name: frame.height for name, frame in frames.items()}
    return Audit(
        name=loaded.config.name,
        rows=rows,
        features=0,
        looked_at=None,
        findings=tuple(_label_finding(run, table, suspects, sum(rows.values()))),
        suspects=tuple(suspects),
    )


def _how_to_have_them(run: RunDirectory) -> str:
    """The command that gives a run predictions of rows that it was not trained with."""
    if run.read_manifest().status != "finished":
        return f"finish it: {command_text('resume', run.path)}"
    return f"train it with folds: {command_text('fit', run.config, 'fit.folds=5')}"


def _target(run: RunDirectory) -> FittedTarget:
    """The target that a run fitted; of a run with members, that of the first."""
    members = sorted(run.members.iterdir()) if run.members.is_dir() else []
    fitted = RunDirectory(members[0]) if members else run
    try:
        return Preprocessing.from_json(fitted.read_preprocessing()).target
    except DataError as damaged:
        where = str(fitted.preprocessing)
        raise RunError(problem.at(where) for problem in damaged.problems) from damaged


def _answered(
    run: RunDirectory, target: FittedTarget, answers: tuple[str, ...]
) -> dict[str, pl.DataFrame]:
    """The answers of a run by what rows they are of: `row`, `actual_<column>`, the answers."""
    found: dict[str, tuple[pl.DataFrame, Mapping[str, str]]] = {}
    if run.out_of_fold.is_file():
        frame = _parquet(run, run.out_of_fold.name)
        found["out of fold"] = frame, out_of_fold_names(target.columns, answers).target
    else:
        splits: tuple[SplitName, ...] = ("validation", "test")
        for split in splits:
            if not (run.predictions / f"{split}.parquet").is_file():
                continue
            frame = _parquet(run, f"{split}.parquet")
            several = len(target.columns) > 1 or target.listed
            known = target.names if target.listed else target.columns
            actual = {name: f"actual_{name}" if several else "actual" for name in known}
            if set(actual.values()) <= set(frame.columns):
                found[split] = frame, actual
    if not found:
        raise RunError(
            Problem(
                str(run.predictions),
                "what the network said of rows that it was not trained with, and their labels",
                "neither out_of_fold.parquet nor validation.parquet with both",
                _how_to_have_them(run),
            )
        )
    for frame, columns in found.values():
        lacking = [
            name for name in ("row", *columns.values(), *answers) if name not in frame.columns
        ]
        if lacking:
            fix = "take the file from a whole copy of the run"
            raise RunError(
                Problem(str(run.predictions), f"a column '{lacking[0]}'", "none of that name", fix)
            )
    return {
        name: frame.select("row", *(pl.col(at).alias(f"actual_{of}") for of, at in columns.items()),
                           *answers)
        for name, (frame, columns) in found.items()
    }  # fmt: skip


def _parquet(run: RunDirectory, name: str) -> pl.DataFrame:
    try:
        return pl.read_parquet(io.BytesIO(run.read_predictions(name)))
    except pl.exceptions.PolarsError as error:
        where, fix = str(run.predictions / name), "take the file from a whole copy of the run"
        raise RunError(Problem(where, "a Parquet file", str(error).splitlines()[0], fix)) from error


def _doubted(
    frame: pl.DataFrame, target: FittedTarget, answers: tuple[str, ...]
) -> list[LabelIssue]:
    """The suspects of a table of answers; of yes/no columns, those of each."""
    if f"actual_{target.columns[0]}" in frame.columns:
        labels = frame.select(pl.col(f"actual_{name}").alias(name) for name in target.columns)
        y, known = target.encode(labels)
    else:  # a column for each label of the lists
        y = frame.select(f"actual_{name}" for name in target.names).to_numpy().astype(np.float32)
        known = np.ones(len(y), np.bool_)
    at = np.flatnonzero(known)
    rows = frame["row"].to_numpy().astype(np.int64)[at]
    p: Float64Array = frame.select(answers).to_numpy().astype(np.float64)[at]
    if target.task == "multiclass":
        return find_label_issues(rows, y[at].argmax(axis=1), p, target.classes)
    found = []
    for place, name in enumerate(target.names if target.listed else target.columns):
        no, yes = (f"not {name}", name) if target.task == "multilabel" else target.classes
        both = np.stack([1 - p[:, place], p[:, place]], axis=1)
        found += find_label_issues(rows, y[at, place].astype(np.int64), both, (no, yes))
    return found


def _files(run: RunDirectory, data: Data) -> Table:
    """Where the run's rows stand in its files, which are not read."""
    files = tuple(
        SourceFile(file.path, file.bytes, file.rows, file.sha256)
        for file in run.read_manifest().data
    )
    formats = tuple(file_format(Path(file.path), data.format) for file in files)
    return Table(pl.DataFrame(), files, None, data.csv, formats)


def _place(table: Table, row: int) -> str:
    try:
        return table.where(row)
    except (OSError, IndexError, DataError):  # the files are elsewhere now, or others
        return f"row {row + 1} of {table.name}"


def _label_finding(
    run: RunDirectory, table: Table, suspects: Sequence[LabelIssue], rows: int
) -> list[Finding]:
    if not suspects:
        return []
    places = tuple(_path_shown(_place(table, one.row)) for one in suspects[:SHOWN])
    words = [
        f"'{one.label}' is likely '{one.predicted}' (probability {one.probability:.2g}) at {place}"
        for one, place in zip(suspects, places, strict=False)
    ]
    more = f" and {len(suspects) - SHOWN:,} more" if len(suspects) > SHOWN else ""
    return [
        Finding(
            kind="label_issues",
            severity="warning",
            where=str(run.path),
            columns=target_columns(read_run_config(run).config.data),
            rows=places,
            count=len(suspects),
            expected="labels that a network which was not trained with them agrees with",
            found=f"{len(suspects):,} of {count_text(rows, 'label')} that it is confident are others: "
            f"{', '.join(words)}{more}",
            meaning="some are wrong labels and some are hard rows",
            fix="look at them, and correct what is wrong; --json lists all",
        )
    ]
