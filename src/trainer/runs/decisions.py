"""`decisions.json`: what was chosen on the validation rows of a run and holds for every row after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from pathlib import PurePath

from trainer.runs.directory import RunDirectory
from trainer.runs.records import later, read_record, to_json

NO_THRESHOLD = 0.5
"""The threshold where none is stated or chosen."""

_LARGEST_EXPONENT = 700.0
"""That a float can hold."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was chosen.

    Attributes:
        threshold: A probability of at least this is a yes.
        aim: What it was chosen for, or None where it was stated.
        reached: What it achieves on the validation rows, by metric; None where a metric is not defined.
        temperature: What the logits are divided by; 1 where they are left alone.
        coverage: The share of rows whose number is to lie in its interval.
        half_widths: Column → half the width of its intervals: in the target's unit, of a column in
            `curves` in its logarithm or on its standardised power curve.
        note: What a user should know of it.
        source: The run directory it was taken from, or None where it was chosen here.
        curves: Column → log or power, of those with such a `data.target_scale`.
    """

    threshold: float = NO_THRESHOLD
    aim: str | None = later(None)
    reached: Mapping[str, float | None] = later(default_factory=dict)
    temperature: float = later(1.0)
    coverage: float | None = later(None)
    half_widths: Mapping[str, float] = later(default_factory=dict)
    note: str = later("")
    source: str | None = later(None)
    curves: Mapping[str, str] = later(default_factory=dict)

    @property
    def chosen_for(self) -> str | None:
        """What the threshold was chosen for; None where it is stated or none reaches the aim."""
        return self.aim if self.reached else None

    @property
    def rows(self) -> str:
        """The rows that it was chosen on, for a text."""
        if self.source is None:
            return "the validation rows"
        # The last two names: those of trials are numbers.
        return f"the validation rows of {'/'.join(PurePath(self.source).parts[-2:])}"

    def summary(self) -> str:
        """The decisions in a phrase; empty where nothing was decided."""
        parts = []
        if self.chosen_for is not None:
            parts.append(f"threshold {self.threshold:.4g} (chosen for {self.chosen_for})")
        elif self.threshold != NO_THRESHOLD:
            parts.append(f"threshold {self.threshold:.4g}")
        if self.temperature != 1:
            parts.append(f"temperature {self.temperature:.4g}")
        if self.half_widths:
            widths = ", ".join(
                f"{name} {width_text(f'{half:.4g}', half, self.curves.get(name))}"
                for name, half in self.half_widths.items()
            )
            parts.append(f"{100 * (self.coverage or 0):g}% intervals ({widths})")
        return ", ".join(parts)


def width_text(shown: str, half: float, kind: str | None) -> str:
    """The half width of prediction intervals for a reader: ± 3.2, or the factor of a logarithm.

    Args:
        shown: The half width as text.
        half: The half width.
        kind: log or power, of a target on such a curve; else None.
    """
    match kind:
        case "log":
            return f"divided and multiplied by {exp(min(half, _LARGEST_EXPONENT)):.4g}"
        case "power":
            return f"± {shown} standard deviations on its power curve"
        case _:
            return f"± {shown}"


def write_decisions(run: RunDirectory, decisions: Decisions) -> None:
    """Write `decisions.json`.

    Raises:
        StorageError: It cannot be written.
    """
    run.write_decisions(to_json(decisions))


def read_decisions(run: RunDirectory) -> Decisions | None:
    """The decisions of a run; None where it has made none.

    Raises:
        RunError: The file is damaged.
    """
    return read_record(run.decisions, Decisions, "take the file from a whole copy of the run")
