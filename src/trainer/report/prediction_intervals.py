"""Prediction intervals of a run: their bounds, and their width as text."""

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
        half: Half the width, in the target's unit; for a transformed target as in `runs.decisions`.
        transform: The transformation of the target, or None.
        scale: The unit of `half`: the standard deviation of the transformed training values for a power
            transformation, else 1.
    """

    half: float
    transform: TargetTransform | None = None
    scale: float = 1.0

    def ends(self, p: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return the lower and upper bounds around predictions (n,)."""
        if self.transform is None:
            return p - self.half, p + self.half
        center, half = self.transform.transform(p), self.half * self.scale
        return self.transform.inverse_transform(center - half), self.transform.inverse_transform(
            center + half
        )

    def __str__(self) -> str:
        kind = None if self.transform is None else self.transform.kind
        return half_width_text(number(self.half), self.half, kind)


def interval_widths(preprocessing: Any, decisions: Decisions | None) -> Mapping[str, IntervalWidth]:
    """Return the fitted widths by target column.

    Args:
        preprocessing: The content of `preprocessing.json`, or None.
        decisions: The decisions made on the validation rows.

    Returns:
        Column → width; empty if `preprocessing.json` is damaged, or for intervals based on quantiles,
            whose width differs from row to row.
    """
    if decisions is None or decisions.quantiles:
        return {}
    try:
        transforms = dict(_transforms(preprocessing))
    except (ValidationError, TypeError, ValueError):
        return {}
    widths = {}
    for name, half in decisions.half_widths.items():
        transform, scale = transforms.get(name, (None, 1.0))
        widths[name] = IntervalWidth(half, transform, scale)
    return widths


def _transforms(preprocessing: Any) -> list[tuple[str, tuple[TargetTransform, float]]]:
    """Return the transformed columns, with the unit of their half widths."""
    match preprocessing:
        case {"target": {"columns": [*columns], "transforms": [*transforms], **target}}:
            scale_list = target.get("scale")
            scales: list[Any] = scale_list if isinstance(scale_list, list) else [1.0] * len(columns)
            parsed = [
                (str(name), TargetTransform.model_validate(transform), float(scale))
                for name, transform, scale in zip(columns, transforms, scales, strict=False)
                if transform is not None
            ]
            return [
                (name, (transform, scale if transform.kind == "power" else 1.0))
                for name, transform, scale in parsed
            ]
        case _:
            return []
