"""Column names: names that polars cannot select, and unused names for output tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from trainer.errors import DataError, Problem


def check_names(path: Path, names: Iterable[str], *, is_csv: bool = False) -> None:
    """Check that no name is a polars pattern (`*` or `^…$`), which would select other columns.

    Args:
        path: The file, for messages.
        names: Its column names.
        is_csv: Whether `data.csv.names` can replace them.

    Raises:
        DataError: If a name is a pattern.
    """
    fix = "rename it" + (", or set data.csv.names for all columns" if is_csv else "")
    problems = [
        Problem(str(path), "column names other than '*' and '^…$'", f"'{name}'", fix)
        for name in names
        if name == "*" or (name.startswith("^") and name.endswith("$"))
    ]
    if problems:
        raise DataError(problems)


def free_name(name: str, used: Collection[str], suffix: str) -> str:
    """Return the name, with the suffix appended until no other column has that name."""
    while name in used:
        name = f"{name}{suffix}"
    return name
