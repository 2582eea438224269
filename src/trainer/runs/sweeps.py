"""The directory of a sweep: where its files are, and how one is made and found.

    <root>/<name>/<time>-<short hash>/
        sweep.yaml  journal.jsonl  trials/<number>/  workers/  lock

A trial's directory is a run directory; in `workers` are the leases (`leases`) of those that train on
other machines. Every path is made from the directory's own.

Owns: the layout, making a sweep and opening one. Does not own: what stands in the journal
(`trainer.sweep`), the trials' directories (`directory`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Self

from trainer.errors import Problem, RunError, did_you_mean
from trainer.runs.directory import RunDirectory
from trainer.runs.files import remove_temporaries, write_atomically

_SUGGESTED = 5000
_CONFIG = "sweep.yaml"


@dataclass(frozen=True, slots=True)
class SweepDirectory:
    """One sweep on disk.

    Attributes:
        path: The directory, as it is to be shown.
    """

    path: Path

    @classmethod
    def create(cls, root: Path, name: str, config_text: str, now: datetime) -> Self:
        """Makes a new sweep, `root/name/<time in UTC>-<hash of config and time>`, with its config.

        Args:
            root: Where sweeps are kept; made when missing.
            name: One path component.
            config_text: The base config with its `sweep` section.
            now: With a time zone.

        Raises:
            RunError: Sweeps cannot be made there.
            StorageError: The disk is full or fails.
        """
        sweep = cls(RunDirectory.create(root, name, config_text, now).path)
        write_atomically(sweep.config, config_text.encode("utf-8"))
        return sweep

    @classmethod
    def open(cls, path: Path) -> SweepDirectory:
        """The sweep that a path names, or that a file or a trial it names lies in.

        Raises:
            RunError: There is no such sweep; the nearest one there is is named.
        """
        whole = Path(os.path.abspath(path))  # noqa: PTH100 — resolve() would follow links
        if path.exists():
            for depth, place in enumerate([whole, *whole.parents][:4]):
                if is_sweep(place):
                    shown = path.parents[depth - 1] if 0 < depth <= len(path.parents) else place
                    return SweepDirectory(path if depth == 0 else shown)
        raise RunError(_not_a_sweep(path))

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    def write_report(self, text: str) -> None:
        """Writes `report.html`."""
        write_atomically(self.report, text.encode("utf-8"))

    @property
    def config(self) -> Path:
        """The base config with its `sweep` section; `trainer sweep` on it repeats the sweep."""
        return self.path / _CONFIG

    @property
    def journal(self) -> Path:
        """What was decided and what came of it."""
        return self.path / "journal.jsonl"

    @property
    def trials(self) -> Path:
        """The directory of the trials' run directories."""
        return self.path / "trials"

    @property
    def workers(self) -> Path:
        """The leases of those that train on other machines."""
        return self.path / "workers"

    @property
    def lock(self) -> Path:
        """Who writes the sweep now."""
        return self.path / "lock"

    def trial(self, number: int) -> Path:
        """The run directory of a trial."""
        return self.trials / str(number)

    def remove_leftovers(self) -> None:
        """Removes what a killed writer left behind; for the owner of `lock`."""
        remove_temporaries(self.path)


def is_sweep(path: Path) -> bool:
    """Whether a directory holds a sweep."""
    return (path / _CONFIG).is_file()


def named_sweep(path: Path) -> SweepDirectory | None:
    """The sweep that a path names, itself or by one of its own files; None where it is of a trial."""
    if is_sweep(path):
        return SweepDirectory(path)
    if path.is_file() and is_sweep(path.parent):
        return SweepDirectory(path.parent)
    return None


def find_sweeps(root: Path) -> Iterator[Path]:
    """The sweeps at `root`, in it or in the folders in it, by name; links are not followed."""
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
    """What a path that leads to no sweep is told: what it is, and the nearest sweep there is."""
    expected = "the directory of a sweep"
    if path.is_dir():
        sweeps = sorted(islice(find_sweeps(path), _SUGGESTED), key=lambda sweep: sweep.name)
        if sweeps:
            found = f"a folder with {len(sweeps)} sweep{'' if len(sweeps) == 1 else 's'}"
            fix = f"name one of them; the newest is {sweeps[-1]}"
            return Problem(str(path), expected, found, fix)
        return Problem(str(path), expected, f"a directory without a {_CONFIG}", _nearest(path))
    found = "a file outside any sweep" if path.exists() else "nothing there"
    return Problem(str(path), expected, found, _nearest(path))


def _nearest(path: Path) -> str:
    base = next((parent for parent in path.parents if parent.is_dir()), Path())
    places = [base, base / "sweeps"] if base.name != "sweeps" else [base]
    sweeps = [sweep for place in places for sweep in islice(find_sweeps(place), _SUGGESTED)]
    if not sweeps:
        return "`trainer sweep CONFIG` begins one"
    sweeps.sort(key=lambda sweep: sweep.name)
    by_name = {name: sweep for sweep in sweeps for name in (sweep.parent.name, sweep.name)}
    near = did_you_mean(path.name, list(by_name))
    if near:
        return f"did you mean '{by_name[near.removeprefix('did you mean ').strip(chr(39) + '?')]}'?"
    return f"the newest sweep is {sweeps[-1]}"
