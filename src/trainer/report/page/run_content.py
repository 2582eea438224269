"""Read everything that a page shows about a run; damaged files are reported as problems, not raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast, get_args

from trainer.config.task_rules import TASK_RULES, TaskRules
from trainer.errors import Problem, RunError
from trainer.metrics.predictions import Predictions
from trainer.report.predictions import LINEAR, StoredPredictions, read_split_predictions
from trainer.report.settings import Value, read_settings
from trainer.report.tables import RunReport, load_report
from trainer.runs.compression import CompressionRecord, read_compression
from trainer.runs.decisions import DEFAULT_THRESHOLD, Decisions, read_decisions
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_json
from trainer.runs.findings import Findings, SplitFindings, read_findings
from trainer.runs.heat_maps import HeatMapsFile, read_heat_maps
from trainer.runs.images import ShownImage, read_images
from trainer.runs.log import read_log
from trainer.task_names import TaskName
from trainer.tasks.registry import get_task_kind

SPLITS = ("test", "validation", "train")
"""In the order of relevance."""

_MAX_HISTORIES = 50
_EXPLANATIONS = (
    "importance", "partial_dependence", "surface", "shap", "texts", "translations"
)  # fmt: skip
_T = TypeVar("_T")


@dataclass(frozen=True)
class Member:
    """A network of a run with repeats or folds: number, metrics by split, a record per epoch."""

    number: int
    metrics: Mapping[str, Mapping[str, float | None]]
    history: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class RunContent:
    """The content of a run.

    Attributes:
        run: The run directory.
        report: Status, manifest, metrics, history.
        settings: The config as plain values; empty if it cannot be read.
        preprocessing: The content of `preprocessing.json`, or None.
        task: The task; None if unknown.
        names: Classes, or target columns.
        findings: The content of `findings.json`, or None.
        decisions: The decisions made on the validation rows, or None.
        predictions: The predictions by split; those of large splits are read when they are used.
        linear: The predictions of the linear baseline by split, likewise.
        compression: The content of `compression.json`, or None.
        explanation: The content of each file in `explanation/`, by name without suffix.
        images: Images of rows of the split to plot, by row number; empty for other data.
        heat_maps: The content of `heat_maps.json`, or None.
        members: The networks of a run with repeats or folds.
        problems: Problems found in damaged files.
    """

    run: RunDirectory
    report: RunReport
    settings: Mapping[str, Value]
    preprocessing: Any
    task: TaskName | None
    names: tuple[str, ...]
    findings: Findings | None
    decisions: Decisions | None
    predictions: Mapping[str, Predictions]
    linear: Mapping[str, Predictions]
    compression: CompressionRecord | None
    explanation: Mapping[str, Any]
    images: Mapping[int, ShownImage]
    heat_maps: HeatMapsFile | None
    members: tuple[Member, ...]
    problems: tuple[Problem, ...] = field(default=())

    @property
    def rules(self) -> TaskRules | None:
        """The rules of the task, None if it is unknown."""
        return None if self.task is None else TASK_RULES[self.task]

    @property
    def split(self) -> str | None:
        """The split to plot: the first of test, validation, train that has predictions."""
        return next((name for name in SPLITS if name in self.predictions), None)

    @property
    def split_findings(self) -> SplitFindings | None:
        """The findings of that split."""
        if self.findings is None or self.split is None:
            return None
        return self.findings.splits.get(self.split)

    @property
    def threshold(self) -> float:
        """The threshold for the positive class."""
        return DEFAULT_THRESHOLD if self.decisions is None else self.decisions.threshold

    @property
    def target(self) -> str:
        """The names of the target columns; empty if unknown."""
        match self.preprocessing:
            case {"target": {"columns": [*columns]}}:
                return ", ".join(map(str, columns))
            case _:
                return ""


def read_run_content(run: RunDirectory, now: datetime) -> RunContent:
    """Read the content of a run; `now` is used to detect dead runs that are marked as running."""
    problems: list[Problem] = []

    def attempt(read: Callable[[], _T]) -> _T | None:
        try:
            return read()
        except RunError as error:
            problems.extend(error.problems)
            return None

    report = load_report(run, now)
    settings = attempt(lambda: read_settings(run)) or {}
    members = _read_members(run, now)
    preprocessing = attempt(lambda: _read_preprocessing(run))
    findings = attempt(lambda: read_findings(run))
    task, names = _task_and_names(findings, preprocessing)

    def stored(suffix: str) -> Mapping[str, Predictions]:
        if task is None or TASK_RULES[task].has_text:
            return {}
        columns = get_task_kind(task).prediction_names(names)
        return StoredPredictions(
            SPLITS,
            lambda split: attempt(_reader(run, f"{split}{suffix}", task, names, columns)),
        )

    explanation = {
        name: attempt(lambda path=path: read_json(path))  # type: ignore[misc]
        for name in _EXPLANATIONS
        if (path := run.explanation / f"{name}.json").exists()
    }
    images = attempt(lambda: read_images(run))
    return RunContent(
        run=run,
        report=report,
        settings=settings,
        preprocessing=preprocessing,
        task=task,
        names=names,
        findings=findings,
        decisions=attempt(lambda: read_decisions(run)),
        predictions=stored(""),
        linear=stored(LINEAR),
        compression=attempt(lambda: read_compression(run)),
        explanation=explanation,
        heat_maps=attempt(lambda: read_heat_maps(run)),
        images={} if images is None else {image.row: image for image in images.images},
        members=tuple(members),
        problems=tuple(dict.fromkeys((*report.problems, *problems))),
    )


def _read_members(run: RunDirectory, now: datetime) -> list[Member]:
    if not run.members.is_dir():
        return []
    members: list[Member] = []
    for path in sorted(run.members.iterdir()):
        if not (path.is_dir() and path.name.isdecimal()):
            continue
        member = RunDirectory(path)
        history: Sequence[Mapping[str, Any]] = ()
        if len(members) < _MAX_HISTORIES:
            with suppress(RunError):
                history = read_log(member.metrics)
        summary = load_report(member, now).summary
        members.append(Member(int(path.name), summary.metrics, history))
    return members


def _read_preprocessing(run: RunDirectory) -> Any:
    """Return the preprocessing of the run, or of its first member."""
    for directory in (run, RunDirectory(run.member(1))):
        if directory.preprocessing.exists():
            return directory.read_preprocessing()
    return None


def _task_and_names(
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
            fix = "restore the file from a copy of the run"
            raise RunError(
                Problem(where, "predictions of the run", f"others ({error})", fix)
            ) from error

    return read
