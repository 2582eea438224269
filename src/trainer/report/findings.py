"""`findings.json`: how good the predictions of a run are. One definition, for its writer and readers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from trainer.errors import command_text
from trainer.runs.directory import RunDirectory
from trainer.runs.records import optional_field, read_record, to_json

# Stated again rather than imported: pydantic takes a fifth of a second to load.
TaskName = Literal["binary", "multiclass", "multilabel", "regression"]
FORMAT = 1


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A value and the ends of its interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: float, low: float, high: float) -> Self:
        """NaN and ±∞ are not defined."""
        return cls(_defined(value), _defined(low), _defined(high))


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much a metric is above a baseline's; noise where the interval contains 0."""

    value: float | None
    low: float | None
    high: float | None
    is_noise: bool

    @classmethod
    def of(cls, value: float, low: float, high: float, is_noise: bool) -> Self:
        """NaN and ±∞ are not defined."""
        return cls(_defined(value), _defined(low), _defined(high), is_noise)


@dataclass(frozen=True, slots=True)
class SplitFindings:
    """How good the predictions for one split are.

    Attributes:
        rows: How many rows.
        measures: Name → value; `CLASS/name` for a class or a column.
        resamples: Of the intervals of `measures`.
        compared_resamples: Of those of the differences.
        prior: What the class frequencies, or the means, of the training rows score.
        linear: What a linear model scores.
        over_prior: The run's metrics minus the prior's.
        over_linear: The run's minus the linear model's.
        calibration_error: The expected calibration error.
        covered: Column → the share of rows in the interval predicted for it.
    """

    rows: int
    measures: Mapping[str, MetricValue]
    resamples: int = optional_field(0)
    compared_resamples: int = optional_field(0)
    prior: Mapping[str, float | None] = optional_field(default_factory=dict)
    linear: Mapping[str, float | None] = optional_field(default_factory=dict)
    over_prior: Mapping[str, Difference] = optional_field(default_factory=dict)
    over_linear: Mapping[str, Difference] = optional_field(default_factory=dict)
    calibration_error: float | None = optional_field(None)
    covered: Mapping[str, MetricValue] = optional_field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slice:
    """Some rows and their metric; `chance` as in `trainer.evaluation.slices`."""

    where: Mapping[str, str]
    rows: int
    value: float | None
    low: float | None
    high: float | None
    chance: float | None


@dataclass(frozen=True, slots=True)
class Slices:
    """The parts of the rows that the config names, and the metric of all rows."""

    measure: str
    whole: float | None
    of: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class WorstSlices:
    """The worst of `looked_at` parts of the rows, and the metric of all rows."""

    measure: str
    whole: float | None
    slices: tuple[Slice, ...]
    looked_at: int

    @property
    def of(self) -> tuple[Slice, ...]:
        """The slices, as in `Slices`."""
        return self.slices


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row with a large loss: its number in the source, its target, the prediction.

    `actual` is a class, or a number for each target column, as the table has them.
    """

    row: int
    actual: str | tuple[float | None, ...]
    answer: tuple[float | None, ...]
    loss: float | None


@dataclass(frozen=True)
class Findings:
    """How good the predictions of a run are.

    Attributes:
        task: What is predicted.
        names: Classes (binary: negative, positive), or columns.
        level: That of the intervals.
        sentence: All of it in a sentence.
        splits: By split.
        resamples: What the config asks for.
        seed: What resamples are drawn with.
        compared: The metrics that are compared with the baselines; the first is the headline.
        slices: Those that were asked for.
        worst_slices: Those on which the run is worst.
        worst_rows: The worst first.
    """

    task: TaskName
    names: tuple[str, ...]
    level: float
    sentence: str
    splits: Mapping[str, SplitFindings]
    resamples: int = optional_field(0)
    seed: int = optional_field(0)
    compared: tuple[str, ...] = optional_field(())
    slices: Slices | None = optional_field(None)
    worst_slices: WorstSlices | None = optional_field(None)
    worst_rows: tuple[WorstRow, ...] = optional_field(())

    def last(self) -> str | None:
        """The split that says most: test, else validation, else train."""
        known = (name for name in ("test", "validation", "train") if name in self.splits)
        return next(known, None)


def write_findings(run: RunDirectory, findings: Findings) -> None:
    """Write `findings.json`.

    Raises:
        StorageError: It cannot be written.
    """
    run.write_findings({"format": FORMAT, **to_json(findings)})


def read_findings(run: RunDirectory) -> Findings | None:
    """The findings of a run; None where it has none.

    Raises:
        RunError: The file is damaged.
    """
    fix = f"remove it, then: {command_text('report', run.path)}"
    return read_record(run.findings, Findings, fix)


def verdict(difference: Difference, name: str) -> str:
    """better, worse or noise."""
    if difference.is_noise or difference.value is None:
        return "noise"
    # pydantic comes along, a fifth of a second.
    from trainer.evaluation.metrics import is_higher_better

    try:
        is_better = (difference.value > 0) == is_higher_better(name)
    except KeyError:
        return ""
    return "better" if is_better else "worse"
