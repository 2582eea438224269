"""The evaluation of a run, `findings.json`, as records shared by writers and readers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from trainer.errors import command_text
from trainer.runs.directory import RunDirectory
from trainer.runs.records import optional_field, read_record, to_json
from trainer.task_names import TaskName

FORMAT = 1


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A metric with its confidence interval; None where undefined."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def from_floats(cls, value: float, low: float, high: float) -> Self:
        """Make a record with None for NaN and ±∞."""
        return cls(_defined(value), _defined(low), _defined(high))


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """The difference of a metric from a baseline's; significant if the interval excludes 0."""

    value: float | None
    low: float | None
    high: float | None
    is_significant: bool

    @classmethod
    def from_floats(cls, value: float, low: float, high: float, is_significant: bool) -> Self:
        """Make a record with None for NaN and ±∞."""
        return cls(_defined(value), _defined(low), _defined(high), is_significant)


@dataclass(frozen=True, slots=True)
class SplitFindings:
    """The evaluation of one split.

    Attributes:
        rows: The number of rows.
        metrics: Name → metric; `CLASS/name` for a class or a column.
        resamples: Bootstrap resamples of the intervals of `metrics`.
        difference_resamples: Bootstrap resamples of the differences.
        prior: Metrics of the prior: class frequencies, or means, of the training rows.
        linear: Metrics of the linear model.
        boosting: Metrics of gradient boosting.
        vs_prior: The metrics of the run minus those of the prior.
        vs_linear: The metrics of the run minus those of the linear model.
        vs_boosting: The metrics of the run minus those of gradient boosting.
        calibration_error: The expected calibration error.
        interval_coverage: Column → the fraction of rows inside its prediction interval.
        linear_model: What the linear model is called in the report.
        copy: For translations, metrics of a copy of the source.
        nearest: Metrics of the target of the most similar training source.
        vs_copy: The metrics of the run minus those of a copy.
        vs_nearest: The metrics of the run minus those of the most similar training source.
    """

    rows: int
    metrics: Mapping[str, MetricValue]
    resamples: int = optional_field(0)
    difference_resamples: int = optional_field(0)
    prior: Mapping[str, float | None] = optional_field(default_factory=dict)
    linear: Mapping[str, float | None] = optional_field(default_factory=dict)
    boosting: Mapping[str, float | None] = optional_field(default_factory=dict)
    vs_prior: Mapping[str, MetricDifference] = optional_field(default_factory=dict)
    vs_linear: Mapping[str, MetricDifference] = optional_field(default_factory=dict)
    vs_boosting: Mapping[str, MetricDifference] = optional_field(default_factory=dict)
    calibration_error: float | None = optional_field(None)
    interval_coverage: Mapping[str, MetricValue] = optional_field(default_factory=dict)
    linear_model: str = optional_field("linear model")
    copy: Mapping[str, float | None] = optional_field(default_factory=dict)
    nearest: Mapping[str, float | None] = optional_field(default_factory=dict)
    vs_copy: Mapping[str, MetricDifference] = optional_field(default_factory=dict)
    vs_nearest: Mapping[str, MetricDifference] = optional_field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """A slice with its metric; `p_value` as in `trainer.assessment.slices`."""

    where: Mapping[str, str]
    rows: int
    value: float | None
    low: float | None
    high: float | None
    p_value: float | None


@dataclass(frozen=True, slots=True)
class NamedSlices:
    """The slices named in the config, and the metric of all rows."""

    metric: str
    overall: float | None
    slices: tuple[SliceRecord, ...]


@dataclass(frozen=True, slots=True)
class WorstSlices:
    """The worst of the slices searched, and the metric of all rows."""

    metric: str
    overall: float | None
    slices: tuple[SliceRecord, ...]
    searched: int


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row with a large loss: its number in the source, its target and its prediction.

    `actual` is a class, or the value of each target column, as in the table. `texts` are the columns of
    text, shortened.
    """

    row: int
    actual: str | tuple[float | None, ...]
    prediction: tuple[float | None, ...]
    loss: float | None
    texts: Mapping[str, str] = optional_field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TermWeights:
    """The terms of a column of text with the largest weights in the linear model.

    Attributes:
        column: The column.
        name: The class, or the target column.
        weights: Term → weight, in descending order.
    """

    column: str
    name: str
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Findings:
    """The evaluation of a run.

    Attributes:
        task: The task.
        names: Classes (binary: negative, positive), or target columns.
        confidence_level: The confidence level of the intervals.
        sentence: A one-sentence summary.
        splits: The evaluation of each split.
        resamples: The number of bootstrap resamples in the config.
        seed: The seed of the resamples.
        compared_metrics: The metrics compared with the baselines; the first is the headline.
        slices: The slices named in the config.
        worst_slices: The slices with the worst metric.
        worst_rows: The rows with the largest loss, in descending order.
        terms: The terms with the largest weights in the linear model.
        notes: How gradient boosting was fitted, or how to install it.
        warnings: Why a baseline is missing.
    """

    task: TaskName
    names: tuple[str, ...]
    confidence_level: float
    sentence: str
    splits: Mapping[str, SplitFindings]
    resamples: int = optional_field(0)
    seed: int = optional_field(0)
    compared_metrics: tuple[str, ...] = optional_field(())
    slices: NamedSlices | None = optional_field(None)
    worst_slices: WorstSlices | None = optional_field(None)
    worst_rows: tuple[WorstRow, ...] = optional_field(())
    terms: tuple[TermWeights, ...] = optional_field(())
    notes: tuple[str, ...] = optional_field(())
    warnings: tuple[str, ...] = optional_field(())

    def reported_split(self) -> str | None:
        """The split to report: test, else validation, else train."""
        splits = (name for name in ("test", "validation", "train") if name in self.splits)
        return next(splits, None)


def write_findings(run: RunDirectory, findings: Findings) -> None:
    """Write `findings.json`.

    Raises:
        StorageError: It cannot be written.
    """
    run.write_findings({"format": FORMAT, **to_json(findings)})


def read_findings(run: RunDirectory) -> Findings | None:
    """Read `findings.json`; None if there is none.

    Raises:
        RunError: The file is damaged.
    """
    fix = f"remove it, then: {command_text('report', run.path)}"
    return read_record(run.findings, Findings, fix)
