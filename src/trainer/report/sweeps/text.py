"""Trials of a sweep as short text: their settings in a line, the table of the best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.config.yaml_writer import flow_text
from trainer.errors import command_text
from trainer.report.text import Table, cell, number
from trainer.sweep.standing import Standing

SHOWN = 10
"""Trials in a table of the best."""
_VALUE_WIDTH = 40


def settings_text(settings: Mapping[str, Any]) -> str:
    """`learning_rate=0.001 optimizer=adam`: the last word of a key, the whole where two agree in it."""
    names = short_names(settings)
    return " ".join(f"{names[key]}={value_text(value)}" for key, value in settings.items())


def short_names(keys: Mapping[str, Any] | tuple[str, ...] | list[str]) -> dict[str, str]:
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


def value_text(value: Any) -> str:
    """A searched value, cut where it is long."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = cell(flow_text(value))
    return text if len(text) <= _VALUE_WIDTH else f"{text[: _VALUE_WIDTH - 1]}…"


def best_table(standing: Standing, title: str = "", shown: int = SHOWN) -> Table:
    """The best trials: number, objective at the best epoch, epochs, status, settings."""
    rows = tuple(
        (
            number(row.trial.number),
            number(row.ended.objective),
            "–" if row.ended.best_epoch is None else number(row.ended.best_epoch),
            number(row.ended.epochs),
            row.ended.status,
            settings_text(row.trial.settings),
        )
        for row in standing.ranks[:shown]
        if row.ended is not None
    )
    return Table(
        title,
        ("trial", standing.objective, "best epoch", "epochs", "status", "settings"),
        rows,
        frozenset({0, 1, 2, 3}),
    )


def listed_text(shown: int, trials: int, sweep: Path) -> str:
    """What stands below a table that has not all trials; empty below one that has."""
    if shown >= trials:
        return ""
    return f"{shown:,} of {trials:,} trials; `{command_text('ls', sweep)}` lists all"
