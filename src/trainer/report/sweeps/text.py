"""Trials of a sweep as short text: settings in one line, a table of the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.config.domains import Choices, Dimension
from trainer.config.yaml_writer import flow_text
from trainer.errors import command_text
from trainer.report.text import Table, cell, number
from trainer.sweep.leaderboard import Leaderboard, TrialRow

BEST_TRIALS = 10
"""The number of trials in the table of the best."""
_VALUE_WIDTH = 24


class SettingLabels:
    """Labels of searched values; long values, such as lists of layers, are numbered: #1.

    Numbers follow the order of the choices in the config, so that they agree in all tables of a sweep;
    other values are numbered by their first trial.
    """

    def __init__(self, dimensions: Sequence[Dimension] = (), rows: Iterable[TrialRow] = ()) -> None:
        self._numbered: dict[str, list[str]] = {}
        for dimension in dimensions:
            if isinstance(dimension.domain, Choices):
                for choice in dimension.domain.values:
                    for key, value in dimension.settings(choice).items():
                        self.value(key, value)
        for row in rows:
            for key, value in row.trial.settings.items():
                self.value(key, value)

    def value(self, key: str, value: Any) -> str:
        """Return the label of a value."""
        if isinstance(value, float):
            return f"{value:.4g}"
        text = cell(flow_text(value))
        if len(text) <= _VALUE_WIDTH:
            return text
        numbered = self._numbered.setdefault(key, [])
        if text not in numbered:
            numbered.append(text)
        return f"#{numbered.index(text) + 1}"

    def settings(self, settings: Mapping[str, Any]) -> str:
        """Format settings in one line, with short names: `learning_rate=0.001 layers=#2`."""
        names = short_names(list(settings))
        return " ".join(f"{names[key]}={self.value(key, value)}" for key, value in settings.items())

    def legend(self) -> tuple[tuple[str, str, str], ...]:
        """Return the numbered values: setting, label, value."""
        return tuple(
            (cell(key), f"#{number}", text)
            for key, texts in self._numbered.items()
            for number, text in enumerate(texts, start=1)
        )


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the short name of each setting: the last part of its key, or the whole key if ambiguous."""
    short = [_short(key) for key in keys]
    return {
        key: key if short.count(name) > 1 else name for name, key in zip(short, keys, strict=True)
    }


def _short(key: str) -> str:
    """Return the last part of a key that is meaningful: not `name`, not an index."""
    last = key.rpartition(".")[2]
    if last == "name":
        return key.removesuffix(".name")
    return key if last.isdecimal() else last


def best_table(
    leaderboard: Leaderboard, labels: SettingLabels, title: str = "", limit: int = BEST_TRIALS
) -> Table:
    """Make a table of the best trials: number, objective at the best epoch, epochs, status, settings."""
    rows = tuple(
        (
            number(row.trial.number),
            number(row.ended.objective),
            "–" if row.ended.best_epoch is None else number(row.ended.best_epoch),
            number(row.ended.epochs),
            row.ended.status,
            labels.settings(row.trial.settings),
        )
        for row in leaderboard.ranks[:limit]
        if row.ended is not None
    )
    return Table(
        title,
        ("trial", leaderboard.objective, "best epoch", "epochs", "status", "settings"),
        rows,
        frozenset({0, 1, 2, 3}),
    )


def legend_table(labels: SettingLabels) -> Table:
    """Make the legend of numbered values; empty if there are none."""
    return Table("numbered values", ("setting", "label", "value"), labels.legend())


def listed_text(shown: int, trials: int, sweep: Path) -> str:
    """Return the line below a table with some of the trials; empty if all are shown."""
    if shown >= trials:
        return ""
    return f"{shown:,} of {trials:,} trials; list all with: {command_text('ls', sweep)}"
