"""Finds run directories, and suggests a run for a wrong path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from trainer.errors import Problem, command_text, did_you_mean
from trainer.runs.sweeps import find_sweeps, is_sweep

_SUGGESTED = 5000


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
            found = f"a folder with {len(sweeps)} sweep{'' if len(sweeps) == 1 else 's'}"
            return Problem(
                str(path), expected, found, f"choose one of them; the newest is {sweeps[-1]}"
            )
        if not runs:
            return Problem(
                where=str(path),
                expected=expected,
                found="a directory without a manifest.json",
                fix="list all runs with `trainer ls`",
            )
        found = f"a folder with {len(runs)} run{'' if len(runs) == 1 else 's'}"
        return Problem(str(path), expected, found, f"choose one of them; the newest is {runs[-1]}")
    found = "a file outside any run" if path.exists() else "no such path"
    return Problem(str(path), expected, found, _nearest(path))


def _nearest(path: Path) -> str:
    base = next((parent for parent in path.parents if parent.is_dir()), Path())
    folders = [base, base / "runs"] if base.name != "runs" else [base]
    runs = [run for folder in folders for run in islice(find_runs(folder), _SUGGESTED)]
    if not runs:
        return "list all runs with `trainer ls`"
    by_name = {name: run for run in sorted(runs, key=_age) for name in (run.parent.name, run.name)}
    newest = max(runs, key=_age)
    suggestion = did_you_mean(path.name, list(by_name))
    if suggestion:
        name = suggestion.removeprefix("did you mean ").strip("'?")
        return f"did you mean '{by_name[name]}'?"
    return f"the newest run is {newest}"


def _age(run: Path) -> str:
    return run.name
