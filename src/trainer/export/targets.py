"""Check of the path that an export is written to."""

from __future__ import annotations

import shlex
from pathlib import Path

from trainer.errors import Problem, UsageError
from trainer.runs.files import parent_problem


def check_target(target: Path, *others: Path, suffix: str = "", is_given: bool) -> None:
    """Check that an export can be written to a path, and overwrites nothing.

    Args:
        target: The path of the export.
        others: Other files that are written with it.
        suffix: The extension that a given path must have; "" for a folder.
        is_given: Whether the user has given the path.

    Raises:
        UsageError: It has another extension, its directory does not exist, or one of the files exists.
    """
    fix = f"{'choose another path' if is_given else 'give another path with -o'}, or remove it"
    problems = _name_problems(target, suffix) if is_given else []
    problems += [
        Problem("--output", "a path that does not exist yet", f"{path}", fix)
        for path in (target, *others)
        if path.exists() or path.is_symlink()
    ]
    if problems:
        raise UsageError(problems)


def _name_problems(target: Path, suffix: str) -> list[Problem]:
    problems = []
    if suffix and target.suffix != suffix:
        expected = f"a name ending in {suffix}"
        fix = f"for example: -o {shlex.quote(f'{target.with_suffix(suffix)}')}"
        problems.append(Problem("--output", expected, f"'{target}'", fix))
    missing = parent_problem("--output", target)
    return problems if missing is None else [*problems, missing]
