"""Which directories hold a run, and which run a wrong path could have meant.

Owns: telling a run from a foreign directory, finding runs, suggestions. Does not own: the layout
(`directory`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from trainer.errors import Problem, command_text, did_you_mean
from trainer.runs.sweeps import find_sweeps, is_sweep

_SUGGESTED = 5000


def is_run(path: Path) -> bool:
    """Whether a directory holds a run: a manifest, or a config beside another file of a run."""
    if (path / "manifest.json").is_file():
        return True
    others = ("metrics.jsonl", "preprocessing.json", "splits.parquet", "checkpoints", "members")
    return (path / "config.yaml").is_file() and any((path / name).exists() for name in others)


def find_runs(root: Path) -> Iterator[Path]:
    """The runs at `root`, in it or in the folders in it; what is no run is passed over.

    A run with members is one run, and they are found in its folder `members`; trials are found in their
    sweep. A link to a folder of runs is followed, one to a run is not: the run would be found twice.
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


def not_a_run(path: Path) -> Problem:
    """What a path that leads to no run is told: what it is, and the nearest run there is."""
    expected = "a run directory"
    if is_sweep(path):
        fix = f"name a trial's run; {command_text('best', path)} prints that of the best"
        return Problem(str(path), expected, "a sweep", fix)
    if path.is_dir():
        runs = sorted(find_runs(path), key=lambda run: run.name)
        sweeps = sorted(islice(find_sweeps(path), _SUGGESTED), key=lambda sweep: sweep.name)
        if sweeps and not runs:
            found = f"a folder with {len(sweeps)} sweep{'' if len(sweeps) == 1 else 's'}"
            return Problem(
                str(path), expected, found, f"name one of them; the newest is {sweeps[-1]}"
            )
        if not runs:
            return Problem(
                where=str(path),
                expected=expected,
                found="a directory without a manifest.json",
                fix="`trainer ls` shows the runs there are",
            )
        found = f"a folder with {len(runs)} run{'' if len(runs) == 1 else 's'}"
        return Problem(str(path), expected, found, f"name one of them; the newest is {runs[-1]}")
    found = "a file outside any run" if path.exists() else "nothing there"
    return Problem(str(path), expected, found, _nearest(path))


def _nearest(path: Path) -> str:
    base = next((parent for parent in path.parents if parent.is_dir()), Path())
    places = [base, base / "runs"] if base.name != "runs" else [base]
    runs = [run for place in places for run in islice(find_runs(place), _SUGGESTED)]
    if not runs:
        return "`trainer ls` shows the runs there are"
    by_name = {name: run for run in sorted(runs, key=_age) for name in (run.parent.name, run.name)}
    newest = max(runs, key=_age)
    near = did_you_mean(path.name, list(by_name))
    if near:
        return f"did you mean '{by_name[near.removeprefix('did you mean ').strip(chr(39) + '?')]}'?"
    return f"the newest run is {newest}"


def _age(run: Path) -> str:
    return run.name
