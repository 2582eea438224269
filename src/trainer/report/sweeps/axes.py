"""Searched settings as plot axes: values of trials mapped to [0, 1] in the scale of the search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.config.domains import Choices, Dimension, Floats, Integers
from trainer.report.sweeps.content import SweepContent
from trainer.sweep.forest import InputImportance, input_importance
from trainer.sweep.leaderboard import TrialRow

MIN_TRIALS = 12
"""Minimum number of trials to compute importance; three per setting are needed, too."""
_MAX_TRIALS = 2000

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """A searched setting, or several that vary together.

    Attributes:
        keys: The settings.
        label: Their short name.
        domain: Their domain.
        names: The choices as text; empty for a range.
    """

    keys: tuple[str, ...]
    label: str
    domain: Choices | Integers | Floats
    names: tuple[str, ...]

    @property
    def is_log(self) -> bool:
        """Whether the search has a logarithmic scale."""
        return not isinstance(self.domain, Choices) and self.domain.log

    def value(self, settings: Mapping[str, Any]) -> float | None:
        """Return the value of a trial, or the index of its choice; None if it is not set."""
        values = {key: settings[key] for key in self.keys if key in settings}
        if not values:
            return None
        if not isinstance(self.domain, Choices):
            (value,) = values.values()
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return float(value) if is_number else None
        for index, choice in enumerate(self.domain.values):
            parts = {self.keys[0]: choice}
            if len(self.keys) > 1:
                parts = dict(zip(self.keys, choice, strict=True))
            if all(parts[key] == value for key, value in values.items()):
                return float(index)
        return None

    def position(self, settings: Mapping[str, Any]) -> float | None:
        """Return the position of a trial in [0, 1], in the scale of the search; None if not set."""
        value = self.value(settings)
        if value is None:
            return None
        low, high = self.limits
        if self.is_log:
            if value <= 0:
                return None
            value, low, high = math.log(value), math.log(low), math.log(high)
        return min(1.0, max(0.0, (value - low) / (high - low)))

    @property
    def limits(self) -> tuple[float, float]:
        """The limits of the axis, half a step outside integers and choices."""
        match self.domain:
            case Choices(values):
                return -0.5, len(values) - 0.5
            case Integers(low, high, _):
                return low - 0.5, high + 0.5
            case Floats(low, high, _):
                return low, high


def make_axes(sweep: SweepContent) -> tuple[Axis, ...]:
    """Return an axis for each searched setting with more than one value."""
    from trainer.report.sweeps.text import short_names

    names = short_names([key for dimension in sweep.dimensions for key in dimension.keys])
    return tuple(
        Axis(
            dimension.keys,
            ", ".join(names[key] for key in dimension.keys),
            dimension.domain,
            _choice_names(sweep, dimension),
        )
        for dimension in sweep.dimensions
        if not (isinstance(dimension.domain, Choices) and len(dimension.domain.values) < 2)
    )


def _choice_names(sweep: SweepContent, dimension: Dimension) -> tuple[str, ...]:
    if not isinstance(dimension.domain, Choices):
        return ()
    return tuple(
        ", ".join(
            sweep.labels.value(key, value) for key, value in dimension.settings(choice).items()
        )
        for choice in dimension.domain.values
    )


def setting_importance(
    axes: Sequence[Axis], rows: Sequence[TrialRow], *, higher: bool
) -> InputImportance | None:
    """Compute how the rank of a trial depends on each setting; None with too few trials.

    Args:
        axes: The settings.
        rows: Trials with comparable objectives.
        higher: Whether higher objectives are better.
    """
    if not axes or len(rows) < max(MIN_TRIALS, 3 * len(axes)):
        return None
    rows = rows[:_MAX_TRIALS]
    objective = np.array([row.ended.objective for row in rows if row.ended is not None])
    ranks = np.argsort(np.argsort(objective if higher else -objective, kind="stable"))
    # Ties get their mean rank.
    _, group = np.unique(objective, return_inverse=True)
    mean = np.bincount(group, weights=ranks) / np.bincount(group)
    x = np.stack([_column(axis, rows) for axis in axes], axis=1)
    return input_importance(x, mean[group] / max(1, len(rows) - 1))


def _column(axis: Axis, rows: Sequence[TrialRow]) -> Float64Array:
    """Return the positions of the trials; those without the setting get a separate
    interval, as wide as their share.
    """
    positions = [axis.position(row.trial.settings) for row in rows]
    unset = sum(position is None for position in positions) / len(positions)
    column = [0.0 if value is None else unset + (1 - unset) * value for value in positions]
    return np.clip(np.array(column, np.float64), 0.0, 1.0 - 1e-12)
