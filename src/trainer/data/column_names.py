"""Names of columns: those that cannot be read, and free ones in the tables that are written."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from trainer.errors import DataError, Problem


def check_names(path: Path, names: Iterable[str], *, is_csv: bool = False) -> None:
    """Check that no name is a pattern to polars, for which it would put other columns: `*`, `^…$`.

    Args:
        path: The file, for messages.
        names: The names of its columns.
        is_csv: Whether `data.csv.names` can replace them.

    Raises:
        DataError: One is.
    """
    fix = "rename it" + (", or name all columns with data.csv.names" if is_csv else "")
    problems = [
        Problem(str(path), "names of columns other than '*' and '^…$'", f"'{name}'", fix)
        for name in names
        if name == "*" or (name.startswith("^") and name.endswith("$"))
    ]
    if problems:
        raise DataError(problems)


def free_name(name: str, taken: Collection[str], suffix: str) -> str:
    """The name, with the suffix as often as it takes until no other column has it."""
    while name in taken:
        name = f"{name}{suffix}"
    return name
