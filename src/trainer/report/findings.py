"""`findings.json` and `decisions.json` of a run, read back: what its answers come to.

Owns: their form as it is read, each value checked: runs can be a stranger's. Does not own: making them
(`trainer.workflows`), how they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from trainer.errors import Problem, RunError, command_text
from trainer.runs import readers
from trainer.runs.directory import RunDirectory
from trainer.runs.files import read_json

if TYPE_CHECKING:
    from trainer.config.data import Task

# Stated again rather than imported: pydantic takes a fifth of a second to load.
_TASKS = ("binary", "multiclass", "multilabel", "regression")


@dataclass(frozen=True, slots=True)
class Measured:
    """A value and the ends of its interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much a measure is above a baseline's; noise where the interval contains 0."""

    value: float | None
    low: float | None
    high: float | None
    is_noise: bool


@dataclass(frozen=True, slots=True)
class SplitFindings:
    """What the answers to one split come to.

    Attributes:
        rows: How many.
        measures: Name → value; `CLASS/name` for a class or a column.
        prior: What the shares of the classes, or the means, of the training rows would score.
        linear: What a linear model scores.
        over_prior: The run's measures minus the prior's.
        over_linear: The run's minus the linear model's.
        calibration_error: The expected calibration error.
        covered: Column → the share of rows in the interval predicted for it.
    """

    rows: int
    measures: Mapping[str, Measured]
    prior: Mapping[str, float | None]
    linear: Mapping[str, float | None]
    over_prior: Mapping[str, Difference]
    over_linear: Mapping[str, Difference]
    calibration_error: float | None
    covered: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class Slice:
    """Some rows and their measure; `chance` as `trainer.evaluation.slices` has it."""

    where: Mapping[str, str]
    rows: int
    value: float | None
    low: float | None
    high: float | None
    chance: float | None


@dataclass(frozen=True, slots=True)
class Slices:
    """Parts of the rows: those asked for, or the worst of `looked_at` (0 where nothing was searched)."""

    measure: str
    whole: float | None
    of: tuple[Slice, ...]
    looked_at: int = 0


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row with a large loss: its number in the source, what is true of it, the run's answer."""

    row: int
    actual: str | tuple[float | None, ...]
    answer: tuple[float | None, ...]
    loss: float | None


@dataclass(frozen=True)
class Findings:
    """What the answers of a run come to.

    Attributes:
        task: What is predicted.
        names: Classes (binary: negative, positive), or columns.
        level: That of the intervals.
        sentence: All of it in a sentence.
        splits: By split.
        slices: Those that were asked for.
        worst_slices: Those on which the run is worst.
        worst_rows: The worst first.
    """

    task: Task
    names: tuple[str, ...]
    level: float
    sentence: str
    splits: Mapping[str, SplitFindings]
    slices: Slices | None = None
    worst_slices: Slices | None = None
    worst_rows: tuple[WorstRow, ...] = ()

    def last(self) -> str | None:
        """The split that says most: test, else validation, else train."""
        known = (name for name in ("test", "validation", "train") if name in self.splits)
        return next(known, None)


@dataclass(frozen=True, slots=True)
class Decided:
    """What was chosen on the validation rows, as `trainer.workflows.decisions` has it."""

    threshold: float
    aim: str | None = None
    temperature: float = 1.0
    coverage: float | None = None
    half_widths: Mapping[str, float] = field(default_factory=dict)
    source: str | None = None

    @property
    def rows(self) -> str:
        """The rows that it was chosen on, for a text."""
        if self.source is None:
            return "the validation rows"
        return f"the validation rows of {PurePath(self.source).name}"


def read_findings(run: RunDirectory) -> Findings | None:
    """The findings of a run; None where it has none.

    Raises:
        RunError: The file is damaged.
    """
    value = _read(run.findings)
    return None if value is None else _checked(run, run.findings, _findings, value)


def read_decided(run: RunDirectory) -> Decided | None:
    """What was chosen for a run; None where nothing was.

    Raises:
        RunError: The file is damaged.
    """
    value = _read(run.decisions)
    return None if value is None else _checked(run, run.decisions, _decided, value)


def answer_columns(task: Task, names: Sequence[str]) -> list[str]:
    """The columns of the answers in `predictions/<split>.parquet`."""
    match task:
        case "binary":
            return [f"probability_{name}" for name in names[1:2]]
        case "multiclass" | "multilabel":
            return [f"probability_{name}" for name in names]
        case "regression":
            return [f"predicted_{name}" for name in names]


def verdict(difference: Difference, name: str) -> str:
    """better, worse or noise."""
    if difference.is_noise or difference.value is None:
        return "noise"
    # pydantic comes along, a fifth of a second.
    from trainer.evaluation.measures import is_higher_better

    try:
        is_better = (difference.value > 0) == is_higher_better(name)
    except KeyError:
        return ""
    return "better" if is_better else "worse"


def _read(path: Path) -> Any:
    return read_json(path) if path.exists() else None


def _checked(run: RunDirectory, path: Path, reader: readers.Reader, value: Any) -> Any:
    try:
        return reader(value)
    except readers.DamageError as error:
        fix = f"remove it, then: {command_text('report', run.path)}"
        raise RunError(Problem(str(path), error.expected, error.found, fix)) from error


_number = readers.maybe(readers.number)
_ends: dict[str, readers.Reader] = dict.fromkeys(("value", "low", "high"), _number)
_measured = readers.made(Measured, _ends)
_difference = readers.made(Difference, {**_ends, "is_noise": readers.flag})


def _with(defaults: Mapping[str, Any], reader: readers.Reader) -> readers.Reader:
    """A reader of a mapping in which these keys may be left out."""
    return lambda value: reader({**defaults, **value} if isinstance(value, dict) else value)


_split = _with(
    {
        **{name: {} for name in ("prior", "linear", "over_prior", "over_linear", "covered")},
        "calibration_error": None,
    },
    readers.made(
        SplitFindings,
        {
            "rows": readers.count,
            "measures": readers.by_name(_measured),
            "prior": readers.by_name(_number),
            "linear": readers.by_name(_number),
            "over_prior": readers.by_name(_difference),
            "over_linear": readers.by_name(_difference),
            "calibration_error": _number,
            "covered": readers.by_name(_measured),
        },
    ),
)
_slice = readers.made(
    Slice,
    {"where": readers.by_name(readers.text), "rows": readers.count, **_ends, "chance": _number},
)


def _slices(key: str, others: Mapping[str, readers.Reader]) -> readers.Reader:
    fields = {"measure": readers.text, "whole": _number, key: readers.each(_slice), **others}

    def read(value: Any) -> Slices:
        facts = readers.read_fields(value, fields)
        facts["of"] = facts.pop(key)
        return Slices(**facts)

    return read


def _actual(value: Any) -> str | tuple[float | None, ...]:
    if isinstance(value, str):
        return value
    numbers: tuple[float | None, ...] = readers.each(_number)(value)
    return numbers


_findings = _with(
    {"slices": None, "worst_slices": None, "worst_rows": []},
    readers.made(
        Findings,
        {
            "task": readers.one_of(*_TASKS),
            "names": readers.each(readers.text),
            "level": readers.number,
            "sentence": readers.text,
            "splits": readers.by_name(_split),
            "slices": readers.maybe(_slices("of", {})),
            "worst_slices": readers.maybe(_slices("slices", {"looked_at": readers.count})),
            "worst_rows": readers.each(
                readers.made(
                    WorstRow,
                    {
                        "row": readers.count,
                        "actual": _actual,
                        "answer": readers.each(_number),
                        "loss": _number,
                    },
                )
            ),
        },
    ),
)
_decided = _with(
    {"aim": None, "temperature": 1.0, "coverage": None, "half_widths": {}, "source": None},
    readers.made(
        Decided,
        {
            "threshold": readers.number,
            "aim": readers.maybe(readers.text),
            "temperature": readers.number,
            "coverage": _number,
            "half_widths": readers.by_name(readers.number),
            "source": readers.maybe(readers.text),
        },
    ),
)
