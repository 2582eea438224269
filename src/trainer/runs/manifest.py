"""`manifest.json`: versions, data, device and status of a run."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from trainer.errors import Problem, RunError
from trainer.packages import DISTRIBUTION
from trainer.runs import readers
from trainer.runs.files import DISK, FileSystem, json_bytes, read_json, write_atomically
from trainer.runs.machine import PACKAGES, GitState, git_state, package_versions, processor_name
from trainer.runs.process import ProcessIdentity, is_alive, this_process
from trainer.runs.records import from_json, optional_field, to_json

FORMAT = 1
PRETRAINED = "model.pretrained"
TIME_LIMIT = "--max-seconds"
"""The option that limits the time of a command; the reason of a run that it ended begins with it."""
Status = Literal["running", "finished", "stopped", "failed"]
DisplayStatus = Status | Literal["dead", "damaged"]
"""`dead`: recorded as running, but without a live process. `damaged`: the manifest is unreadable."""

DEAD_AFTER_SECONDS = 60.0
"""A process that cannot be inspected counts as dead after this long without a heartbeat."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file: its path as given, size in bytes, rows, and SHA-256 in hexadecimal."""

    path: str
    bytes: int
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """Weights that training started from: the setting, the file or checkpoint, and their SHA-256."""

    setting: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Resumption:
    """A resume of the run by a new process.

    Attributes:
        at: Time of the resume.
        command: Arguments of its command line.
        epoch: Epoch of the checkpoint that training resumed from.
        step: Step of the checkpoint.
        checkpoint: Name of the checkpoint, such as "last" or "last-1".
        changes: Setting → its old and new value, as "10 → 30".
        differences: Other differences from the original run that were accepted.
    """

    at: datetime
    command: tuple[str, ...]
    epoch: int
    step: int
    checkpoint: str
    changes: Mapping[str, str] = field(default_factory=dict)
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RollbackRecord:
    """A rollback of training to this epoch and step, resumed at this learning rate."""

    epoch: int
    step: int
    learning_rate: float


@dataclass(frozen=True)
class Manifest:
    """The record of a run; values that are known only later start empty.

    Attributes:
        name: Name of the experiment.
        version: Version of trainer.
        command: Arguments of the command line that started the run.
        started: Start time.
        process: The process that is writing the run, or wrote it last.
        heartbeat: Time of that process's last heartbeat.
        status: running, finished, stopped (by a signal; can be resumed) or failed.
        python: Version of Python.
        platform: Operating system and machine type.
        packages: Package → version.
        git: State of the config's git repository, if it is in one.
        device: Description of the device used for training.
        engine: Execution engine, such as resident or streaming.
        threads: Threads within an operation.
        task: One of `trainer.task_names`.
        parameters: Number of weights of the model.
        data: The data files.
        initial_weights: The weights of other runs and files that training started from.
        splits: Split → number of rows.
        dropped: Reason → number of rows dropped for it.
        epochs: Number of completed epochs.
        best_epoch: Epoch of the best checkpoint, from 1.
        stopped_because: Why training ended, as text.
        weights_sha256: Hash of the evaluated weights.
        timings: Phase → seconds.
        ended: End time.
        problems: Why the run failed.
        warnings: Warnings shown to the user.
        resumptions: Every resume of the run by another process.
        rollbacks: Every rollback after a loss that was not finite.
    """

    name: str
    version: str
    command: tuple[str, ...]
    seed: int
    started: datetime
    process: ProcessIdentity
    heartbeat: datetime
    status: Status = "running"
    python: str = ""
    platform: str = ""
    processor: str = optional_field("")
    packages: Mapping[str, str] = field(default_factory=dict)
    git: GitState | None = None
    device: str | None = None
    engine: str | None = None
    threads: int | None = None
    task: str | None = None
    parameters: int | None = None
    data: tuple[DataFile, ...] = ()
    initial_weights: tuple[InitialWeights, ...] = optional_field(())
    splits: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    epochs: int = 0
    best_epoch: int | None = None
    stopped_because: str | None = None
    weights_sha256: str | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    ended: datetime | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    resumptions: tuple[Resumption, ...] = optional_field(())
    rollbacks: tuple[RollbackRecord, ...] = optional_field(())

    @property
    def is_out_of_time(self) -> bool:
        """Whether a time limit ended the run, which was evaluated but can be resumed."""
        return self.status == "finished" and (self.stopped_because or "").startswith(TIME_LIMIT)

    def with_heartbeat(self, now: datetime) -> Self:
        """Return a copy with a new heartbeat."""
        return replace(self, heartbeat=now)

    def with_end(self, status: Status, now: datetime, problems: Sequence[Problem] = ()) -> Self:
        """Return a copy for a run that has ended."""
        return replace(self, status=status, heartbeat=now, ended=now, problems=tuple(problems))

    def with_resumption(self, resumption: Resumption, process: ProcessIdentity) -> Self:
        """Return a copy for a run resumed by another process; keeps `command` and `started`."""
        return replace(
            self,
            resumptions=(*self.resumptions, resumption),
            status="running",
            process=process,
            heartbeat=resumption.at,
            ended=None,
            problems=(),
            stopped_because=None,
        )

    def with_timing(self, phase: str, seconds: float) -> Self:
        """Return a copy with `seconds` added to a phase."""
        total = self.timings.get(phase, 0.0) + seconds
        return replace(self, timings={**self.timings, phase: total})

    def with_warnings(self, *warnings: str) -> Self:
        """Return a copy with these warnings added, without duplicates."""
        new = (warning for warning in dict.fromkeys(warnings) if warning not in self.warnings)
        return replace(self, warnings=(*self.warnings, *new))


def new_manifest(
    *,
    name: str,
    command: Sequence[str],
    seed: int,
    config_directory: Path,
    now: datetime,
    process: ProcessIdentity | None = None,
) -> Manifest:
    """Return the manifest of a new run, with versions, processor and git state.

    Takes less than a second, including git. `now` must have a time zone; `process` defaults to this
    process.
    """
    packages = package_versions(PACKAGES)
    return Manifest(
        name=name,
        version=packages.get(DISTRIBUTION, "unknown"),
        command=tuple(command),
        seed=seed,
        started=now,
        process=this_process() if process is None else process,
        heartbeat=now,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=processor_name(),
        packages=packages,
        git=git_state(config_directory),
    )


def display_status(
    manifest: Manifest, now: datetime, observer: ProcessIdentity, heartbeat: datetime | None = None
) -> DisplayStatus:
    """Return the status; `dead` for a run recorded as running without a live process.

    A process on this machine is inspected. A process elsewhere counts as alive while its newest
    heartbeat (the manifest's or the given one) is at most `DEAD_AFTER_SECONDS` old.
    """
    if manifest.status != "running":
        return manifest.status
    alive = is_alive(manifest.process, observer)
    if alive is None:
        newest = max(manifest.heartbeat, heartbeat or manifest.heartbeat)
        alive = (now - newest).total_seconds() <= DEAD_AFTER_SECONDS
    return "running" if alive else "dead"


def write_manifest(path: Path, manifest: Manifest, disk: FileSystem = DISK) -> None:
    """Write a manifest atomically.

    Raises:
        StorageError: The file could not be written.
    """
    write_atomically(path, json_bytes(manifest_to_json(manifest)), disk)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        RunError: The file is missing, damaged, or written by an incompatible version.
    """
    return manifest_from_json(read_json(path), path)


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """Convert a manifest to JSON: fields by name, times in ISO 8601."""
    return {"format": FORMAT, **to_json(manifest)}


def manifest_from_json(value: Any, path: Path) -> Manifest:
    """Return the manifest that was read from `path`; unknown keys are ignored.

    Raises:
        RunError: The content is damaged, or written by an incompatible version.
    """
    if isinstance(value, dict) and "format" in value and value["format"] != FORMAT:
        raise RunError(
            Problem(
                where=str(path),
                expected=f"a manifest of format {FORMAT}",
                found=f"format {readers.short_repr(value['format'])}",
                fix="read it with the version of trainer that wrote it",
            )
        )
    try:
        return from_json(Manifest, value)
    except readers.DamageError as error:
        raise RunError(
            Problem(
                where=str(path),
                expected=error.expected,
                found=error.found,
                fix="restore it from a copy of the run, or repeat the run with `trainer fit` on its "
                "config.yaml",
            )
        ) from error
