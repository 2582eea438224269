"""`evaluation/<split>.json`: metrics of a model, or of all members of a run, on one split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import Problem, RunError
from trainer.runs.files import read_json
from trainer.runs.readers import DamageError
from trainer.runs.records import from_json, optional_field

Metrics = Mapping[str, Mapping[str, float | None]]
"""Split → metric → value; None if undefined."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric summarized over the members of a run.

    Attributes:
        mean: Mean over the members with a value; None if there are none.
        std: Sample standard deviation (n - 1); None for fewer than two members.
        low: Lower end of the 95% confidence interval of the mean; None for fewer than two members or
            folds.
        high: Upper end.
        n: Number of members with a value.
    """

    mean: float | None
    std: float | None
    low: float | None
    high: float | None
    n: int = optional_field(0)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics on one split.

    Attributes:
        metrics: Metric → value, None if undefined. For several members, the mean.
        split: Name of the split.
        checkpoint: The checkpoint that was evaluated; None for several members.
        epoch: Its epoch; None for several members.
        rows: Number of rows; None for several members.
        members: Number of members; None for a single model.
        intervals: Metric → its interval, for several members.
    """

    metrics: Mapping[str, float | None]
    split: str = optional_field("")
    checkpoint: str | None = optional_field(None)
    epoch: int | None = optional_field(None)
    rows: int | None = optional_field(None)
    members: int | None = optional_field(None)
    intervals: Mapping[str, Interval] = optional_field(default_factory=dict)


Intervals = Mapping[str, Mapping[str, Interval]]
"""Split → metric → interval, for a run with repeats or folds."""


def read_evaluation(path: Path) -> Evaluation:
    """Read an evaluation.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        return from_json(Evaluation, read_json(path))
    except DamageError as error:
        fix = "restore the file from a copy of the run"
        raise RunError(Problem(str(path), error.expected, error.found, fix)) from error
