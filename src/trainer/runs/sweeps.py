"""The directory of a sweep: its layout, and how it is created and found.

    <root>/<name>/<time>-<short hash>/
        sweep.yaml  journal.jsonl  trials/<number>/  workers/  lock

A trial's directory is a run directory; `workers` contains the leases (`leases`) of workers on other
machines. Every path is derived from the directory's own path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Self

from trainer.errors import Problem, RunError, did_you_mean, pluralize
from trainer.runs.directory import RunDirectory
from trainer.runs.files import remove_temporary_files, write_atomically

_SUGGESTED = 5000
_CONFIG = "sweep.yaml"


@dataclass(frozen=True, slots=True)
class SweepDirectory:
    """A sweep on disk.

    Attributes:
        path: The directory, as shown to the user.
    """

    path: Path

    @classmethod
    def create(
        cls, root: Path, name: str, config_text: str, now: datetime, mode: int | None = None
    ) -> Self:
        """Create a sweep with its config, the base config with its `sweep` section.

        The directory is named like that of a run; see `RunDirectory.create`.

        Raises:
            RunError: Sweeps cannot be created there.
            StorageError: The disk is full or fails.
        """
        sweep = cls(RunDirectory.create(root, name, config_text, now, mode).path)
        write_atomically(sweep.config, config_text.encode("utf-8"))
        return sweep

    @classmethod
    def open(cls, path: Path) -> SweepDirectory:
        """Return the sweep at a path, or the one that contains the file or trial at the path.

        Raises:
            RunError: There is no such sweep; the error suggests the most similar one.
        """
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 — resolve() would follow links
        if path.exists():
            for depth, directory in enumerate([absolute, *absolute.parents][:4]):
                if is_sweep(directory):
                    as_typed = (
                        path.parents[depth - 1] if 0 < depth <= len(path.parents) else directory
                    )
                    return SweepDirectory(path if depth == 0 else as_typed)
        raise RunError(_not_a_sweep(path))

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    def write_report(self, text: str) -> None:
        """Write `report.html`."""
        write_atomically(self.report, text.encode("utf-8"))

    @property
    def config(self) -> Path:
        """The base config with its `sweep` section; `trainer sweep` on it repeats the sweep."""
        return self.path / _CONFIG

    @property
    def journal(self) -> Path:
        """The log of suggested trials and their results."""
        return self.path / "journal.jsonl"

    @property
    def trials(self) -> Path:
        """The directory of the trials' run directories."""
        return self.path / "trials"

    @property
    def workers(self) -> Path:
        """The directory of leases of workers on other machines."""
        return self.path / "workers"

    @property
    def lock(self) -> Path:
        """The lock file, which names the process that is writing the sweep."""
        return self.path / "lock"

    def trial(self, number: int) -> Path:
        """Return the run directory of a trial."""
        return self.trials / str(number)

    def remove_leftovers(self) -> None:
        """Remove temporary files of a killed writer; call only while holding `lock`."""
        remove_temporary_files(self.path)


def is_sweep(path: Path) -> bool:
    """Return whether a directory is a sweep."""
    return (path / _CONFIG).is_file()


def sweep_at(path: Path) -> SweepDirectory | None:
    """Return the sweep at a path, or the one with a file at the path; None for a trial's files."""
    if is_sweep(path):
        return SweepDirectory(path)
    if path.is_file() and is_sweep(path.parent):
        return SweepDirectory(path.parent)
    return None


def find_sweeps(root: Path) -> Iterator[Path]:
    """Yield the sweeps at `root`, in it or in its subfolders, by name; links are not followed."""
    if is_sweep(root):
        yield root
        return
    for entry in _directories(root):
        if is_sweep(entry):
            yield entry
        else:
            yield from (inner for inner in _directories(entry) if is_sweep(inner))


def _directories(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [path / name for name in sorted(names)]


def _not_a_sweep(path: Path) -> Problem:
    """Describe a path that is not a sweep, and suggest the most similar sweep."""
    expected = "a sweep directory"
    if path.is_dir():
        sweeps = sorted(islice(find_sweeps(path), _SUGGESTED), key=lambda sweep: sweep.name)
        if sweeps:
            return folder_problem(path, expected, sweeps, "sweep")
        found = f"a directory without a {_CONFIG}"
    else:
        found = "a file outside any sweep" if path.exists() else "no such path"
    fix = suggest_directory(path, find_sweeps, "sweep") or "start one with `trainer sweep CONFIG`"
    return Problem(str(path), expected, found, fix)


def folder_problem(path: Path, expected: str, found: Sequence[Path], noun: str) -> Problem:
    """Return the problem with a folder of runs or sweeps, given in ascending order of their names."""
    fix = f"choose one of them; the newest is {found[-1]}"
    return Problem(str(path), expected, f"a folder with {pluralize(len(found), noun)}", fix)


def suggest_directory(path: Path, find: Callable[[Path], Iterator[Path]], noun: str) -> str:
    """Return the run or sweep that is meant by a path, else the newest one; "" if there is none.

    Args:
        path: The path, which does not exist or is something else.
        find: Yields the runs or sweeps in a folder.
        noun: "run" or "sweep".
    """
    base = next((parent for parent in path.parents if parent.is_dir()), Path())
    folders = [base, base / f"{noun}s"] if base.name != f"{noun}s" else [base]
    known = [path for folder in folders for path in islice(find(folder), _SUGGESTED)]
    if not known:
        return ""
    known.sort(key=lambda directory: directory.name)
    by_name = {
        name: directory for directory in known for name in (directory.parent.name, directory.name)
    }
    suggestion = did_you_mean(path.name, list(by_name))
    if suggestion:
        name = suggestion.removeprefix("did you mean ").strip("'?")
        return f"did you mean '{by_name[name]}'?"
    return f"the newest {noun} is {known[-1]}"
