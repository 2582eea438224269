"""The findings of an audit and their text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.data.message_lists import quoted
from trainer.errors import Problem

Severity = Literal["error", "warning", "note"]
"""error: metrics would be wrong, or `fit` rejects the table. warning: should be checked. note: for
information."""

FindingKind = Literal[
    "duplicate_rows",
    "near_duplicate_rows",
    "conflicting_rows",
    "broken_images",
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
    "many_categories",
    "unseen_categories",
    "target_leakage",
    "rare_class",
    "class_imbalance",
    "missing_by_class",
    "target_outliers",
    "drift",
    "time_order",
    "time_ignored",
    "label_issues",
    "text_quality",
]

SHOWN = 5
"""Maximum number of columns and rows listed by name; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Affected:
    """The columns or rows that a finding is about.

    Attributes:
        where: Location of the first row, or the table.
        columns: All columns, the worst first.
        rows: Locations of the first `SHOWN` rows, if it is about rows.
        count: Number of rows, or of columns if it is about columns.
    """

    where: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem found by an audit.

    Attributes:
        kind: Identifier of the check.
        severity: The severity.
        affected: The affected columns or rows.
        expected: What was expected, as a noun phrase.
        found: What was found, with numbers.
        effect: The effect on a network or its metrics, as a sentence without a period.
        fix: How to fix it.
    """

    kind: FindingKind
    severity: Severity
    affected: Affected
    expected: str
    found: str
    effect: str
    fix: str

    @property
    def problem(self) -> Problem:
        """The finding as a problem, for a one-line message."""
        effect_and_fix = f"{self.effect}: {self.fix}"
        return Problem(
            f"{self.affected.where} [{self.kind}]", self.expected, self.found, effect_and_fix
        )

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "where": self.affected.where,
            "columns": list(self.affected.columns),
            "rows": list(self.affected.rows),
            "count": self.affected.count,
            "expected": self.expected,
            "found": self.found,
            "effect": self.effect,
            "fix": self.fix,
        }


def join_first(items: Sequence[str]) -> str:
    """Join the first few items and count the rest: a, b, c and 4 more."""
    more = f" and {len(items) - SHOWN:,} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more


def join_names(columns: Sequence[str]) -> str:
    """Join the first few column names in quotes and count the rest."""
    return quoted(columns, SHOWN)


def yaml_list(columns: Sequence[str]) -> str:
    """Return the first few names as a YAML list: [a, b, …]."""
    plain = [name if name.replace("_", "").isalnum() else f'"{name}"' for name in columns[:SHOWN]]
    return f"[{', '.join(plain)}{', …' if len(columns) > SHOWN else ''}]"


def exclusion_setting(columns: Sequence[str]) -> str:
    """Return the setting that excludes columns."""
    return f"data.features.exclude: {yaml_list(columns)}"
