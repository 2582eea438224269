"""Names of columns in the tables that are written."""

from __future__ import annotations

from collections.abc import Collection


def free_name(name: str, taken: Collection[str], suffix: str) -> str:
    """The name, with the suffix as often as it takes until no other column has it."""
    while name in taken:
        name = f"{name}{suffix}"
    return name
