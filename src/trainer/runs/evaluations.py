"""`evaluation/<split>.json`: the metrics of a network, or of all networks of a run, on one split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import Problem, RunError
from trainer.runs.files import read_json
from trainer.runs.readers import DamageError
from trainer.runs.records import from_json, later

Metrics = Mapping[str, Mapping[str, float | None]]
"""Split → metric → value; None where the value is not defined."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric over the members of a run.

    Attributes:
        mean: Of the members that have a value; None without any.
        sd: Their standard deviation (n - 1); None with fewer than two.
        low: Lower end of the 95% interval of the mean; None with fewer than two members, or folds.
        high: Upper end.
        n: Members that have a value.
    """

    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    n: int = later(0)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one split scores.

    Attributes:
        metrics: By name; None where a metric is not defined. Of members the means.
        split: The split's name.
        checkpoint: The checkpoint that was evaluated; None for members.
        epoch: Its epoch; None for members.
        rows: How many rows; None for members.
        members: How many networks; None for one.
        intervals: Of members: each metric's.
    """

    metrics: Mapping[str, float | None]
    split: str = later("")
    checkpoint: str | None = later(None)
    epoch: int | None = later(None)
    rows: int | None = later(None)
    members: int | None = later(None)
    intervals: Mapping[str, Interval] = later(default_factory=dict)


Intervals = Mapping[str, Mapping[str, Interval]]
"""Split → metric → interval; of a run with repeats or folds."""


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation in a file.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        return from_json(Evaluation, read_json(path))
    except DamageError as error:
        fix = "take the file from a whole copy of the run"
        raise RunError(Problem(str(path), error.expected, error.found, fix)) from error
