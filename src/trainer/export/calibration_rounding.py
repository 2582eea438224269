"""Differences of calibrated probabilities that the rounding of uncalibrated ones explains.

Temperature scaling takes the logit of a float32 probability p, and 1 - p has few digits where p is close
to 1; close to 0, some libraries compute p with no more digits. With a temperature T above 1, the
calibrated probability q is further from 0 and 1, and a difference of p becomes a greater one of q:

    dq = q (1 - q) / (T p (1 - p)) dp

For T = 2 and p = 1 - 1e-6, the last digit of p changes q by 3e-5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from trainer.errors import pluralize
from trainer.metrics.activations import apply_temperature
from trainer.metrics.arrays import Float64Array, FloatArray
from trainer.tasks.task import Task

_RESOLUTION = float(np.finfo(np.float32).eps)
_STEPS = 2
"""Largest accepted difference between two sigmoids, in units of the resolution of float32; those of
TensorFlow and ONNX Runtime differ by up to 1.5.
"""


def calibration_rounding(
    tasks: Sequence[Task], predictions: Sequence[FloatArray], columns: Sequence[str]
) -> dict[str, Float64Array]:
    """Return the differences that rounding explains, column → (rows,); none up to a temperature of 1.

    They hold for the mean of all members and for the standard deviation between them.

    Args:
        tasks: The task of each member, with its temperature.
        predictions: The calibrated probabilities of each member, (rows, k).
        columns: The columns of the probabilities, then of their standard deviations.
    """
    # A softmax has as many digits for small probabilities as for large ones.
    if all(task.temperature <= 1 or task.kind.rules.predicts_most_likely for task in tasks):
        return {}
    parts = np.stack(
        [_member_rounding(task, q) for task, q in zip(tasks, predictions, strict=True)]
    )
    # If members change by r, their standard deviation changes by |r| / √(n - 1), their mean by less.
    bound = np.sqrt((parts**2).sum(axis=0) / max(1, len(parts) - 1))
    # Of two classes, only the positive one has a column in `predictions`.
    return {name: bound[:, index % bound.shape[1]] for index, name in enumerate(columns)}


def _member_rounding(task: Task, calibrated: FloatArray) -> Float64Array:
    temperature = task.temperature
    p = apply_temperature(task.name, calibrated, 1 / temperature)
    step = _STEPS * _RESOLUTION
    ends = [
        apply_temperature(task.name, end.astype(np.float32), temperature)
        for end in (p - step, p + step)
    ]
    changes: Float64Array = np.max([np.abs(end - calibrated) for end in ends], axis=0)
    return changes


def rounding_notes(
    expected: pl.DataFrame,
    found: pl.DataFrame,
    rounding: Mapping[str, Float64Array],
    tolerance: float,
) -> list[str]:
    """Return a note about differences above the tolerance that rounding explains, if there are any."""
    if not rounding:
        return []
    names = list(rounding)
    differences = np.abs(expected[names].to_numpy() - found[names].to_numpy())
    explained = np.stack([*rounding.values()], axis=1)
    differences[(differences <= tolerance) | (differences > explained)] = 0
    rows = int(np.count_nonzero(differences.any(axis=1)))
    if not rows:
        return []
    return [
        f"calibrated probabilities differ by up to {differences.max():.2g} in "
        f"{pluralize(rows, 'compared row')}: a temperature above 1 magnifies rounding of "
        "probabilities close to 0 or 1"
    ]
