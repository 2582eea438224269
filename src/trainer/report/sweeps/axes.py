"""Searched settings as axes: the value of a trial → a place from 0 to 1, in the scale of the search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.config.domains import Choices, Dimension, Floats, Integers
from trainer.evaluation.forest import InputImportance, input_importance
from trainer.report.sweeps.facts import SweepFacts
from trainer.sweep.leaderboard import TrialRow

LEAST_TRIALS = 12
"""Trials that an importance is computed from at least; and three for each setting."""
_MOST_TRIALS = 2000

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """A searched setting, or several that change together.

    Attributes:
        keys: The settings.
        label: Their short name.
        domain: What they can be.
        names: The values of choices, as text; of a range none.
    """

    keys: tuple[str, ...]
    label: str
    domain: Choices | Integers | Floats
    names: tuple[str, ...]

    @property
    def is_log(self) -> bool:
        """Whether it was searched by factors."""
        return not isinstance(self.domain, Choices) and self.domain.log

    def value(self, settings: Mapping[str, Any]) -> float | None:
        """A trial's value, of choices its position among them; None where it is not set."""
        own = {key: settings[key] for key in self.keys if key in settings}
        if not own:
            return None
        if not isinstance(self.domain, Choices):
            (value,) = own.values()
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return float(value) if is_number else None
        for place, choice in enumerate(self.domain.values):
            parts = {self.keys[0]: choice}
            if len(self.keys) > 1:
                parts = dict(zip(self.keys, choice, strict=True))
            if all(parts[key] == value for key, value in own.items()):
                return float(place)
        return None

    def share(self, settings: Mapping[str, Any]) -> float | None:
        """A trial's place from 0 to 1, in the scale of the search; None where it is not set."""
        value = self.value(settings)
        if value is None:
            return None
        low, high = self.ends
        if self.is_log:
            if value <= 0:
                return None
            value, low, high = math.log(value), math.log(low), math.log(high)
        return min(1.0, max(0.0, (value - low) / (high - low)))

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the scale, half a step outside of whole numbers and choices."""
        match self.domain:
            case Choices(values):
                return -0.5, len(values) - 0.5
            case Integers(low, high, _):
                return low - 0.5, high + 0.5
            case Floats(low, high, _):
                return low, high


def axes_of(sweep: SweepFacts) -> tuple[Axis, ...]:
    """The searched settings of a sweep, those with one value left out."""
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


def _choice_names(sweep: SweepFacts, dimension: Dimension) -> tuple[str, ...]:
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
    """How the rank of a trial depends on each setting; None where there are too few trials.

    Args:
        axes: The settings.
        rows: Trials that can be compared.
        higher: Whether a higher objective is better.
    """
    if not axes or len(rows) < max(LEAST_TRIALS, 3 * len(axes)):
        return None
    rows = rows[:_MOST_TRIALS]
    objective = np.array([row.ended.objective for row in rows if row.ended is not None])
    ranks = np.argsort(np.argsort(objective if higher else -objective, kind="stable"))
    # Equal objectives have equal ranks.
    _, group = np.unique(objective, return_inverse=True)
    mean = np.bincount(group, weights=ranks) / np.bincount(group)
    x = np.stack([_column(axis, rows) for axis in axes], axis=1)
    return input_importance(x, mean[group] / max(1, len(rows) - 1))


def _column(axis: Axis, rows: Sequence[TrialRow]) -> Float64Array:
    """The places of the trials; those where it is not set in a part of their own, as large as their
    share.
    """
    shares = [axis.share(row.trial.settings) for row in rows]
    unset = sum(share is None for share in shares) / len(shares)
    places = [0.0 if share is None else unset + (1 - unset) * share for share in shares]
    return np.clip(np.array(places, np.float64), 0.0, 1.0 - 1e-12)
