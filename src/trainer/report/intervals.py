"""Prediction intervals of a run: their ends, and their width as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from trainer.data.target_curves import TargetCurve
from trainer.report.text import number
from trainer.runs.decisions import Decisions

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Width:
    """The width of the prediction intervals of one target column.

    Attributes:
        half: Half of it, in the target's unit, or on its curve.
        curve: The curve that the column was trained on, or None.
    """

    half: float
    curve: TargetCurve | None = None

    def ends(self, p: Doubles) -> tuple[Doubles, Doubles]:
        """Low and high ends around predictions (n,)."""
        if self.curve is None:
            return p - self.half, p + self.half
        middle = self.curve.forward(p)
        return self.curve.backward(middle - self.half), self.curve.backward(middle + self.half)

    def __str__(self) -> str:
        if self.curve is None:
            return f"± {number(self.half)}"
        if self.curve.kind == "log":
            return f"divided and multiplied by {number(exp(self.half))}"
        return f"± {number(self.half)} on the scale of target_scale: power"


def interval_widths(preprocessing: Any, decided: Decisions | None) -> Mapping[str, Width]:
    """The widths that were fitted, by target column.

    Args:
        preprocessing: The content of `preprocessing.json`, or None.
        decided: What was chosen on the validation rows.

    Returns:
        Column → width; none at all where `preprocessing.json` is damaged.
    """
    if decided is None:
        return {}
    curves: dict[str, TargetCurve | None] = {}
    match preprocessing:
        case {"target": {"columns": [*columns], "curves": [*found]}}:
            try:
                curves = {
                    str(name): None if one is None else TargetCurve.model_validate(one)
                    for name, one in zip(columns, found, strict=False)
                }
            except ValidationError:
                return {}
    return {name: Width(half, curves.get(name)) for name, half in decided.half_widths.items()}
