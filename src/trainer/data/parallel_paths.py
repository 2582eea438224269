"""Parallel text files, whose lines belong together: `corpus.{en,fr}` is `corpus.en` and `corpus.fr`.

The names in braces are those of the columns.
"""

from __future__ import annotations

import re
from pathlib import Path

_BRACES = re.compile(r"([^{}]*)\{([^{}]*)\}([^{}]*)")


def parallel_files(path: Path) -> list[tuple[str, Path]]:
    """Return the name and the path of each file; empty for the path of a single file."""
    match = _BRACES.fullmatch(str(path))
    if match is None or path.exists():
        return []
    before, names, after = match.groups()
    stripped = [name.strip() for name in names.split(",")]
    return [(name, Path(before + name + after)) for name in stripped]


def files_of_path(path: Path) -> list[Path]:
    """Return the files of a path: parallel files, or the path itself."""
    return [file for _, file in parallel_files(path)] or [path]


def bytes_of_path(path: Path) -> int:
    """Return the size of a file, or of parallel files together."""
    return sum(file.stat().st_size for file in files_of_path(path))
