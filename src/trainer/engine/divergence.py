"""A loss that is not finite, as an error: where, which weights broke first, what helps."""

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
    """What helps where a loss is not finite.

    Attributes:
        first: When it is that of the first batch, before any weight has changed.
        later: When training has made it so.
    """

    first: str = "scale the features and the target"
    later: str = (
        "lower optimizer.learning_rate, set optimizer.clip_norm: 1.0, or scale the features"
    )


def first_nonfinite_step(trained: EpochOutput) -> int:
    """The number of the first batch of a pass, from 1, with a loss that is not finite; else its last."""
    bad = np.flatnonzero(~np.isfinite(trained.losses))
    return int(bad[0]) + 1 if bad.size else trained.steps


def first_nonfinite_variable(weights: Iterable[tuple[str, Any]]) -> str | None:
    """The name of the first of the weights that has a value that is not finite."""
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
    """The error.

    Args:
        epoch: The epoch it happened in.
        step: The batch of the whole training, from 1.
        loss: The loss of the epoch.
        broken: The first weights that are not finite, if any.
        advice: What helps.
        rollbacks: How often training went back because of it before.
    """
    place = f"; the first weights that are not finite: {broken}" if broken else ""
    rolled_back = f" after going back {rollbacks} times" if rollbacks else ""
    return Problem(
        where=f"epoch {epoch}, step {step}",
        expected="a finite loss",
        found=f"{loss}{rolled_back}{place}",
        fix=advice.first if step == 1 else advice.later,
    )
