"""The error for a loss that is not finite: where, which weights are affected, what helps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.errors import Problem

if TYPE_CHECKING:
    from trainer.engine.batches import EpochOutput


@dataclass(frozen=True, slots=True)
class DivergenceAdvice:
    """Suggested fixes for a loss that is not finite.

    Attributes:
        first: For the loss of the first batch, before any weight has changed.
        later: For the loss of a later batch.
    """

    first: str = "scale the features and the target"
    later: str = (
        "lower optimizer.learning_rate, set optimizer.clip_norm: 1.0, or scale the features"
    )


def first_nonfinite_step(trained: EpochOutput) -> int:
    """Return the first batch, from 1, whose loss is not finite; the last batch if there is none."""
    nonfinite = np.flatnonzero(~np.isfinite(trained.losses))
    return int(nonfinite[0]) + 1 if nonfinite.size else trained.steps


def first_nonfinite_variable(weights: Iterable[tuple[str, Any]]) -> str | None:
    """Return the name of the first variable with a value that is not finite."""
    for name, value in weights:
        if not np.all(np.isfinite(np.asarray(value, dtype=np.float64))):
            return name
    return None


def divergence_problem(
    epoch: int,
    step: int,
    loss: float,
    broken: str | None,
    advice: DivergenceAdvice,
    rollbacks: int = 0,
) -> Problem:
    """Return the error.

    Args:
        epoch: Epoch of the loss.
        step: Batch of the whole training run, from 1.
        loss: Loss of the epoch.
        broken: Name of the first weights that are not finite, or None.
        advice: Suggested fixes.
        rollbacks: Number of earlier rollbacks.
    """
    weights = f"; the first weights that are not finite: {broken}" if broken else ""
    times = "1 rollback" if rollbacks == 1 else f"{rollbacks} rollbacks"
    after = f" after {times}" if rollbacks else ""
    return Problem(
        where=f"epoch {epoch}, step {step}",
        expected="a finite loss",
        found=f"{loss}{after}{weights}",
        fix=advice.first if step == 1 else advice.later,
    )
