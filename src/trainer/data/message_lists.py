"""Names and values in messages."""

from __future__ import annotations

from collections.abc import Sequence

MAX_LINES = 5
"""Columns that have a line of their own; a table can have thousands alike."""


def quoted(words: Sequence[str], most: int | None = None) -> str:
    """The words in quotes, the first few and how many more there are: 'a', 'b' and 1,234 more.

    Args:
        words: They.
        most: How many are listed; None for all.
    """
    shown = ", ".join(f"'{word}'" for word in words[:most])
    more = 0 if most is None else len(words) - most
    return shown + (f" and {more:,} more" if more > 0 else "")


def truncated(lines: Sequence[str], what: str) -> list[str]:
    """The first `MAX_LINES` lines, and how many more of what there are."""
    more = len(lines) - MAX_LINES
    return [*lines[:MAX_LINES], *([f"and {more:,} more {what}"] if more > 0 else [])]
