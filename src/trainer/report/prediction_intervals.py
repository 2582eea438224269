"""Prediction intervals of a run: their ends, and their width as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from trainer.data.target_transforms import TargetTransform
from trainer.report.text import number
from trainer.runs.decisions import Decisions, half_width_text

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class IntervalWidth:
    """The width of the prediction intervals of one target column.

    Attributes:
        half: Half of it, in the target's unit, or as `runs.decisions` has it of one on a curve.
        curve: The curve that the column was trained on, or None.
        scale: What `half` is in units of: the deviation of the training values on a power curve, else 1.
    """

    half: float
    curve: TargetTransform | None = None
    scale: float = 1.0

    def ends(self, p: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Low and high ends around predictions (n,)."""
        if self.curve is None:
            return p - self.half, p + self.half
        middle, half = self.curve.forward(p), self.half * self.scale
        return self.curve.backward(middle - half), self.curve.backward(middle + half)

    def __str__(self) -> str:
        kind = None if self.curve is None else self.curve.kind
        return half_width_text(number(self.half), self.half, kind)


def interval_widths(preprocessing: Any, decided: Decisions | None) -> Mapping[str, IntervalWidth]:
    """The widths that were fitted, by target column.

    Args:
        preprocessing: The content of `preprocessing.json`, or None.
        decided: What was chosen on the validation rows.

    Returns:
        Column → width; none at all where `preprocessing.json` is damaged.
    """
    if decided is None:
        return {}
    try:
        curves = dict(_curves(preprocessing))
    except (ValidationError, TypeError, ValueError):
        return {}
    found = {}
    for name, half in decided.half_widths.items():
        curve, scale = curves.get(name, (None, 1.0))
        found[name] = IntervalWidth(half, curve, scale)
    return found


def _curves(preprocessing: Any) -> list[tuple[str, tuple[TargetTransform, float]]]:
    """Columns on a curve, and the scale that their half widths are measured in."""
    match preprocessing:
        case {"target": {"columns": [*columns], "curves": [*curves], **target}}:
            stated = target.get("scale")
            scales: list[Any] = stated if isinstance(stated, list) else [1.0] * len(columns)
            read = [
                (str(name), TargetTransform.model_validate(curve), float(scale))
                for name, curve, scale in zip(columns, curves, scales, strict=False)
                if curve is not None
            ]
            return [
                (name, (curve, scale if curve.kind == "power" else 1.0))
                for name, curve, scale in read
            ]
        case _:
            return []
