"""Find run directories, and suggest a run for a wrong path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from trainer.errors import Problem, command_text
from trainer.runs.sweeps import find_sweeps, folder_problem, is_sweep, suggest_directory

_SUGGESTED = 5000
_LIST_RUNS = "list all runs with `trainer ls`"


def is_run(path: Path) -> bool:
    """Return whether a directory is a run: it has a manifest, or a config and another file of a run."""
    if (path / "manifest.json").is_file():
        return True
    others = ("metrics.jsonl", "preprocessing.json", "splits.parquet", "checkpoints", "members")
    return (path / "config.yaml").is_file() and any((path / name).exists() for name in others)


def find_runs(root: Path) -> Iterator[Path]:
    """Yield the runs at `root`, in it or in its subfolders; other directories are skipped.

    A run with members counts as one run; members are found in its folder `members`, and trials in their
    sweep. Links to folders of runs are followed. Links to runs are not, or a run would be found twice.
    """
    if is_run(root):
        yield root
        return
    for entry in _directories(root):
        if is_run(entry):
            if not entry.is_symlink():
                yield entry
            continue
        for inner in _directories(entry):
            if not inner.is_symlink() and is_run(inner):
                yield inner


def _directories(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return [
                path / entry.name
                for entry in sorted(entries, key=_name)
                if entry.is_dir() and os.access(entry.path, os.R_OK | os.X_OK)
            ]
    except OSError:
        return []


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def not_a_run_problem(path: Path) -> Problem:
    """Describe a path that is not a run, and suggest the most similar run."""
    expected = "a run directory"
    if is_sweep(path):
        fix = f"use the run of a trial; {command_text('best', path)} prints the best one"
        return Problem(str(path), expected, "a sweep", fix)
    if path.is_dir():
        runs = sorted(find_runs(path), key=lambda run: run.name)
        sweeps = sorted(islice(find_sweeps(path), _SUGGESTED), key=lambda sweep: sweep.name)
        if sweeps and not runs:
            return folder_problem(path, expected, sweeps, "sweep")
        if not runs:
            found = "a directory without a manifest.json"
            return Problem(str(path), expected, found, _LIST_RUNS)
        return folder_problem(path, expected, runs, "run")
    found = "a file outside any run" if path.exists() else "no such path"
    fix = suggest_directory(path, find_runs, "run") or _LIST_RUNS
    return Problem(str(path), expected, found, fix)
