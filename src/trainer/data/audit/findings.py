"""What an audit can find, and how it is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.data.message_lists import quoted
from trainer.errors import Problem

Severity = Literal["fault", "warning", "note"]
"""fault: figures would be false, or `fit` refuses the table. warning: to be looked at. note: not a
finding, but worth knowing."""

Kind = Literal[
    "duplicate_rows",
    "near_duplicate_rows",
    "conflicting_rows",
    "group_leak",
    "row_identifier",
    "empty_column",
    "constant_column",
    "nearly_constant_column",
    "redundant_column",
    "infinite_values",
    "mixed_types",
    "numbers_as_text",
    "dates_as_text",
    "placeholder_values",
    "many_levels",
    "unseen_levels",
    "target_leakage",
    "rare_class",
    "class_imbalance",
    "missing_by_class",
    "target_outliers",
    "drift",
    "time_order",
    "time_ignored",
    "label_issues",
]

SHOWN = 5
"""Columns and rows that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an audit found.

    Attributes:
        kind: What it is.
        severity: How bad it is.
        where: The place of the first row of it, else the table.
        columns: The columns concerned, the worst first; all of them.
        rows: The places of the first `SHOWN` rows concerned, if it is about rows.
        count: How many rows are concerned; of columns, if it is about columns.
        expected: What is right, as a noun phrase.
        found: What is there, with figures.
        meaning: What it does to a network or its figures; a whole sentence without its full stop.
        fix: What to do.
    """

    kind: Kind
    severity: Severity
    where: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    count: int
    expected: str
    found: str
    meaning: str
    fix: str

    @property
    def problem(self) -> Problem:
        """The finding in one line."""
        means = f"{self.meaning}: {self.fix}"
        return Problem(f"{self.where} [{self.kind}]", self.expected, self.found, means)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "where": self.where,
            "columns": list(self.columns),
            "rows": list(self.rows),
            "count": self.count,
            "expected": self.expected,
            "found": self.found,
            "meaning": self.meaning,
            "fix": self.fix,
        }


def listed(words: Sequence[str]) -> str:
    """The first few, and how many more there are: a, b, c and 4 more."""
    more = f" and {len(words) - SHOWN:,} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def names(columns: Sequence[str]) -> str:
    """The first few columns in quotes, and how many more there are."""
    return quoted(columns, SHOWN)


def counted(count: int, noun: str) -> str:
    """1 row · 2,000 rows · 3 classes."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def yaml_list(columns: Sequence[str]) -> str:
    """Names as a list of a config, the first few: [a, b, …]."""
    plain = [name if name.replace("_", "").isalnum() else f'"{name}"' for name in columns[:SHOWN]]
    return f"[{', '.join(plain)}{', …' if len(columns) > SHOWN else ''}]"


def exclude(columns: Sequence[str]) -> str:
    """The setting that leaves columns out."""
    return f"data.features.exclude: {yaml_list(columns)}"
