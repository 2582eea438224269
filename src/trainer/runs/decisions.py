"""`decisions.json`: threshold, temperature and interval widths chosen on the validation rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from pathlib import PurePath

from trainer.runs.directory import RunDirectory
from trainer.runs.records import optional_field, read_record, to_json

DEFAULT_THRESHOLD = 0.5
"""The threshold if none is configured or chosen."""

_LARGEST_EXPONENT = 700.0
"""The largest exponent whose exponential a float can hold, rounded down."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """Choices made on the validation rows, applied to all later predictions.

    Attributes:
        threshold: Smallest probability that is predicted positive.
        criterion: Criterion that the threshold was chosen for; None for a configured threshold.
        achieved: Metric → its value on the validation rows at the threshold; None if undefined.
        temperature: Divisor of the logits; 1 leaves them unchanged.
        coverage: Target fraction of rows whose true value lies in the prediction interval.
        half_widths: Column → half the width of its prediction interval: in the target's unit or,
            for a column in `target_scales`, on the log or standardized power scale.
        note: A warning for the user.
        source: The run directory that the decisions were taken from; None if chosen in this run.
        target_scales: Column → log or power, for columns with such a `data.target_scale`.
        quantiles: The first and the last predicted quantile, if intervals are based on them: the half
            width is how far the bounds extend beyond them. Empty if they are based on the prediction.
    """

    threshold: float = DEFAULT_THRESHOLD
    criterion: str | None = optional_field(None)
    achieved: Mapping[str, float | None] = optional_field(default_factory=dict)
    temperature: float = optional_field(1.0)
    coverage: float | None = optional_field(None)
    half_widths: Mapping[str, float] = optional_field(default_factory=dict)
    note: str = optional_field("")
    source: str | None = optional_field(None)
    target_scales: Mapping[str, str] = optional_field(default_factory=dict)
    quantiles: tuple[float, ...] = optional_field(())

    @property
    def chosen_for(self) -> str | None:
        """The threshold's criterion; None if it was configured or no threshold meets the criterion."""
        return self.criterion if self.achieved else None

    @property
    def rows_text(self) -> str:
        """The rows that the choices were made on, as text."""
        if self.source is None:
            return "the validation rows"
        # The last two path components, because trials are named by number.
        return f"the validation rows of {'/'.join(PurePath(self.source).parts[-2:])}"

    def width_text(self, name: str, shown: str, half: float) -> str:
        """Return the half width of the interval of a column as text.

        Args:
            name: The column.
            shown: The half width as text.
            half: The half width.
        """
        kind = self.target_scales.get(name)
        if not self.quantiles:
            return half_width_text(shown, half, kind)
        first, last = self.quantiles
        scale = "" if kind is None else f" on the {kind} scale"
        return f"quantiles {first:g} and {last:g}, extended by {shown}{scale}"

    def summary(self) -> str:
        """Return the decisions as a phrase; empty if there are none."""
        parts = []
        if self.chosen_for is not None:
            parts.append(f"threshold {self.threshold:.4g} (chosen for {self.chosen_for})")
        elif self.threshold != DEFAULT_THRESHOLD:
            parts.append(f"threshold {self.threshold:.4g}")
        if self.temperature != 1:
            parts.append(f"temperature {self.temperature:.4g}")
        if self.half_widths:
            widths = ", ".join(
                f"{name} {self.width_text(name, f'{half:.4g}', half)}"
                for name, half in self.half_widths.items()
            )
            parts.append(f"{100 * (self.coverage or 0):g}% intervals ({widths})")
        return ", ".join(parts)


def half_width_text(shown: str, half: float, kind: str | None) -> str:
    """Return the half width of a prediction interval as text: ± 3.2, or a factor on the log scale.

    Args:
        shown: The half width as text.
        half: The half width.
        kind: The target's scale, if log or power; else None.
    """
    match kind:
        case "log":
            return f"multiplied or divided by {exp(min(half, _LARGEST_EXPONENT)):.4g}"
        case "power":
            return f"± {shown} standard deviations on the power scale"
        case _:
            return f"± {shown}"


def write_decisions(run: RunDirectory, decisions: Decisions) -> None:
    """Write `decisions.json`.

    Raises:
        StorageError: The file cannot be written.
    """
    run.write_decisions(to_json(decisions))


def read_decisions(run: RunDirectory) -> Decisions | None:
    """Return the decisions of a run; None if it has none.

    Raises:
        RunError: The file is damaged.
    """
    return read_record(run.decisions, Decisions, "restore the file from a copy of the run")
