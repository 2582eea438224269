"""Lists of names and values in messages."""

from __future__ import annotations

from collections.abc import Sequence

MAX_LINES = 5
"""Maximum number of lines for similar columns; a table can have thousands of them."""


def quoted(names: Sequence[str], limit: int | None = None) -> str:
    """Return the names in quotes, at most `limit` of them: 'a', 'b' and 1,234 more.

    Args:
        names: The names or values.
        limit: Maximum number to list; None for all.
    """
    shown = ", ".join(f"'{name}'" for name in names[:limit])
    more = 0 if limit is None else len(names) - limit
    return shown + (f" and {more:,} more" if more > 0 else "")


def truncated(lines: Sequence[str], noun: str) -> list[str]:
    """Return the first `MAX_LINES` lines, and a line with the number of omitted ones."""
    more = len(lines) - MAX_LINES
    return [*lines[:MAX_LINES], *([f"and {more:,} more {noun}"] if more > 0 else [])]
