"""All that a page says of a run, read from its files: what is damaged is told, not raised.

Owns: which files are read, which split the plots are of. Does not own: what is shown of it (the
sections).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast, get_args

from trainer.config.data import TaskName
from trainer.errors import Problem, RunError
from trainer.evaluation.predictions import Predictions
from trainer.report.findings import (
    Findings,
    SplitFindings,
    read_findings,
)
from trainer.report.predictions import LINEAR, prediction_columns, read_split_predictions
from trainer.report.settings import Value, read_settings
from trainer.report.tables import RunReport, load_report
from trainer.runs.decisions import DEFAULT_THRESHOLD, Decisions, read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_json
from trainer.runs.log import read_log

SPLITS = ("test", "validation", "train")
"""The split that says most first."""

_DRAWN_MEMBERS = 50
_EXPLANATIONS = ("importance", "partial_dependence", "surface", "shap")
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Member:
    """A network of a run with repeats or folds: its number, metrics by split, one object an epoch."""

    number: int
    metrics: Mapping[str, Mapping[str, float | None]]
    history: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run.

    Attributes:
        run: Its directory.
        report: Status, manifest, metrics, history.
        settings: Its config as plain values; empty where it cannot be read.
        preprocessing: What was fitted on the training rows, as JSON; None where there is none.
        task: What is predicted; None where nothing says so.
        names: Classes, or target columns.
        findings: What its answers come to.
        decided: What was chosen on the validation rows.
        answers: Split → its answers.
        linear: Split → those of the linear baseline.
        explanation: Name of a file of `explanation/` without its ending → its JSON.
        members: The networks of a run with repeats or folds.
        problems: What is damaged.
    """

    run: RunDirectory
    report: RunReport
    settings: Mapping[str, Value]
    preprocessing: Any
    task: TaskName | None
    names: tuple[str, ...]
    findings: Findings | None
    decided: Decisions | None
    answers: Mapping[str, Predictions]
    linear: Mapping[str, Predictions]
    explanation: Mapping[str, Any]
    members: tuple[Member, ...]
    problems: tuple[Problem, ...] = field(default=())

    @property
    def split(self) -> str | None:
        """The split that plots are of: the first of test, validation, train that has answers."""
        return next((name for name in SPLITS if name in self.answers), None)

    @property
    def split_findings(self) -> SplitFindings | None:
        """The findings of that split."""
        if self.findings is None or self.split is None:
            return None
        return self.findings.splits.get(self.split)

    @property
    def threshold(self) -> float:
        """A probability of at least this is a yes."""
        return DEFAULT_THRESHOLD if self.decided is None else self.decided.threshold

    @property
    def target(self) -> str:
        """The target column or columns in words; empty where nothing says so."""
        match self.preprocessing:
            case {"target": {"columns": [*columns]}}:
                return ", ".join(map(str, columns))
            case _:
                return ""


def read_facts(run: RunDirectory, now: datetime) -> RunFacts:
    """Reads all there is of a run; `now` tells whether one that says it runs is dead."""
    problems: list[Problem] = []

    def tried(read: Callable[[], _Found]) -> _Found | None:
        try:
            return read()
        except RunError as error:
            problems.extend(error.problems)
            return None

    report = load_report(run, now)
    settings = tried(lambda: read_settings(run)) or {}
    members = _members(run, now)
    preprocessing = tried(lambda: _preprocessing(run))
    findings = tried(lambda: read_findings(run))
    task, names = _question(findings, preprocessing)
    answers: dict[str, Predictions] = {}
    linear: dict[str, Predictions] = {}
    if task is not None:
        for split in SPLITS:
            columns = prediction_columns(task, names)
            for place, name in ((answers, split), (linear, f"{split}{LINEAR}")):
                read = _reader(run, name, task, names, columns)
                found = tried(read)
                if found is not None and len(found):
                    place[split] = found
    explanation = {
        name: tried(lambda path=path: read_json(path))  # type: ignore[misc]
        for name in _EXPLANATIONS
        if (path := run.explanation / f"{name}.json").exists()
    }
    return RunFacts(
        run=run,
        report=report,
        settings=settings,
        preprocessing=preprocessing,
        task=task,
        names=names,
        findings=findings,
        decided=tried(lambda: read_decisions(run)),
        answers=answers,
        linear=linear,
        explanation=explanation,
        members=tuple(members),
        problems=tuple(dict.fromkeys((*report.problems, *problems))),
    )


def _members(run: RunDirectory, now: datetime) -> list[Member]:
    if not run.members.is_dir():
        return []
    found: list[Member] = []
    for path in sorted(run.members.iterdir()):
        if not (path.is_dir() and path.name.isdecimal()):
            continue
        member = RunDirectory(path)
        history: Sequence[Mapping[str, Any]] = ()
        if len(found) < _DRAWN_MEMBERS:
            with suppress(RunError):
                history = read_log(member.metrics)
        summary = load_report(member, now).summary
        found.append(Member(int(path.name), summary.metrics, history))
    return found


def _preprocessing(run: RunDirectory) -> Any:
    """Its own, or that of the first of its networks."""
    for one in (run, RunDirectory(run.member(1))):
        if one.preprocessing.exists():
            return one.read_preprocessing()
    return None


def _question(
    findings: Findings | None, preprocessing: Any
) -> tuple[TaskName | None, tuple[str, ...]]:
    if findings is not None:
        return findings.task, findings.names
    match preprocessing:
        case {"target": {"task": task, "classes": [*classes], "columns": [*columns]}}:
            if task in get_args(TaskName):
                return cast(TaskName, task), tuple(map(str, classes or columns))
    return None, ()


def _reader(
    run: RunDirectory, split: str, task: TaskName, names: Sequence[str], columns: Sequence[str]
) -> Callable[[], Predictions | None]:
    def read() -> Predictions | None:
        try:
            return read_split_predictions(run, split, task, names, columns)
        except (AssertionError, KeyError) as error:
            where = str(run.predictions / f"{split}.parquet")
            fix = "take the file from a whole copy of the run"
            raise RunError(
                Problem(where, "the predictions of the run", f"different ones ({error})", fix)
            ) from error

    return read
