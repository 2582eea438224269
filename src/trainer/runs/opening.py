"""Resolve a path typed by the user to a run, or to a checkpoint of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trainer.errors import Problem, RunError, did_you_mean
from trainer.runs.directory import RunDirectory
from trainer.runs.directory_versions import existing_directory
from trainer.runs.search import is_run, not_a_run_problem


class OpenedRun(NamedTuple):
    """A run, and the name of its checkpoint if the path points into one."""

    run: RunDirectory
    checkpoint: str | None


def open_run(path: Path) -> OpenedRun:
    """Return the run at `path`, and the checkpoint if `path` points into one.

    `path` can be a run, a file of it (`config.yaml`), a checkpoint or a file of a checkpoint.

    Raises:
        RunError: There is no such run or checkpoint; the error suggests the most similar one.
    """
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 — resolve() would follow links
    for depth, directory in enumerate([absolute, *absolute.parents][:4]):
        if is_run(directory):
            run = RunDirectory(_as_typed(path, directory, depth))
            return OpenedRun(run, _checkpoint_name(run, path, absolute.relative_to(directory)))
    raise RunError(not_a_run_problem(path))


def check_links(run: RunDirectory) -> None:
    """Check that no link in a run would let its files be written elsewhere.

    Raises:
        RunError: A link points out of the run.
    """
    outside = list(_links_outside(run.path))
    if outside:
        raise RunError(outside)


def _links_outside(directory: Path) -> Iterator[Problem]:
    home = os.path.realpath(directory)
    for folder, folders, files in os.walk(directory):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(home):
                yield Problem(
                    str(path),
                    "a file or folder inside the run",
                    f"a link to {path.readlink()}",
                    "replace the link with its target",
                )


def _as_typed(path: Path, directory: Path, depth: int) -> Path:
    """Return `directory`, which is `depth` levels above `path`, as the user typed it if possible."""
    if ".." in path.parts or depth > len(path.parts) - 1:
        return directory if depth or ".." in path.parts else path
    return path if depth == 0 else path.parents[depth - 1]


def _checkpoint_name(run: RunDirectory, path: Path, relative_path: Path) -> str | None:
    match relative_path.parts:
        case ("checkpoints", name, *rest):
            known = run.checkpoint_names()
            if name in known:
                directory = existing_directory(run.checkpoint(name))
                if directory is not None and directory.joinpath(*rest).exists():
                    return name
                raise RunError(_no_such_file(run, path))
            available = f"it has {' and '.join(known)}" if known else "it has none"
            raise RunError(
                Problem(
                    where=str(path),
                    expected="a checkpoint of the run",
                    found=f"none named '{name}'",
                    fix=did_you_mean(name, known, otherwise=available),
                )
            )
        case _ if path.exists():
            return None
        case _:
            raise RunError(_no_such_file(run, path))


def _no_such_file(run: RunDirectory, path: Path) -> Problem:
    return Problem(
        where=str(path),
        expected="a run or a checkpoint",
        found="no such file in the run",
        fix=f"use the run directory: {run.path}",
    )
