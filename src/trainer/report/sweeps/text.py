"""Trials of a sweep as short text: their settings in a line, the table of the best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.config.domains import Choices, Dimension
from trainer.config.yaml_writer import flow_text
from trainer.errors import command_text
from trainer.report.text import Table, cell, number
from trainer.sweep.leaderboard import Leaderboard, TrialRow

SHOWN = 10
"""Trials in a table of the best."""
_VALUE_WIDTH = 24


class SettingLabels:
    """Searched values as short text; a long one, such as a list of layers, is numbered: #1.

    The numbers follow the order of the choices in the config, so that every table of a sweep has the
    same; others are those of the values' first trials.
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
        """A value of a setting."""
        if isinstance(value, float):
            return f"{value:.4g}"
        text = cell(flow_text(value))
        if len(text) <= _VALUE_WIDTH:
            return text
        known = self._numbered.setdefault(key, [])
        if text not in known:
            known.append(text)
        return f"#{known.index(text) + 1}"

    def settings(self, settings: Mapping[str, Any]) -> str:
        """`learning_rate=0.001 layers=#2`: the last word of a key, the whole where two agree in it."""
        names = short_names(list(settings))
        return " ".join(f"{names[key]}={self.value(key, one)}" for key, one in settings.items())

    def legend(self) -> tuple[tuple[str, str, str], ...]:
        """The numbered values: setting, number, value."""
        return tuple(
            (cell(key), f"#{place}", text)
            for key, texts in self._numbered.items()
            for place, text in enumerate(texts, start=1)
        )


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Setting → the last word of its key, the whole key where two agree in it."""
    short = [_short(key) for key in keys]
    return {
        key: key if short.count(name) > 1 else name for name, key in zip(short, keys, strict=True)
    }


def _short(key: str) -> str:
    """The last part of a key; of one that says no more than which of several, the part before too."""
    last = key.rpartition(".")[2]
    if last == "name":
        return key.removesuffix(".name")
    return key if last.isdecimal() else last


def best_table(
    leaderboard: Leaderboard, labels: SettingLabels, title: str = "", shown: int = SHOWN
) -> Table:
    """The best trials: number, objective at the best epoch, epochs, status, settings."""
    rows = tuple(
        (
            number(row.trial.number),
            number(row.ended.objective),
            "–" if row.ended.best_epoch is None else number(row.ended.best_epoch),
            number(row.ended.epochs),
            row.ended.status,
            labels.settings(row.trial.settings),
        )
        for row in leaderboard.ranks[:shown]
        if row.ended is not None
    )
    return Table(
        title,
        ("trial", leaderboard.objective, "best epoch", "epochs", "status", "settings"),
        rows,
        frozenset({0, 1, 2, 3}),
    )


def legend_table(labels: SettingLabels) -> Table:
    """The legend of numbered values; empty where there are none."""
    return Table("values", ("setting", "", "value"), labels.legend())


def listed_text(shown: int, trials: int, sweep: Path) -> str:
    """The line below a table with some of the trials; empty below one with all."""
    if shown >= trials:
        return ""
    return f"{shown:,} of {trials:,} trials; list all with: {command_text('ls', sweep)}"
