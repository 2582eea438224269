"""`manifest.json`: what ran, on what, with what, and how it ended.

Owns: the facts and their form in JSON, the status `dead`. Does not own: when a manifest is written.
"""

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
from trainer.runs.machine import PACKAGES, Git, git_state, package_versions, processor_name
from trainer.runs.process import Process, is_alive, this_process
from trainer.runs.records import from_json, later, to_json

FORMAT = 1
Status = Literal["running", "finished", "stopped", "failed"]
ShownStatus = Status | Literal["dead", "damaged"]
"""`dead`: it says running, but no process does. `damaged`: the manifest cannot be read."""

DEAD_AFTER_SECONDS = 60.0
"""A process that cannot be looked at is taken for dead when it gave no sign for this long."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that was read: its path as given, size in bytes, rows, SHA-256 in hexadecimal."""

    path: str
    bytes: int
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Resumption:
    """A process went on with the run.

    Attributes:
        at: When.
        command: Its command line, as words.
        epoch: The epoch of the checkpoint it went on from.
        step: The step of it.
        checkpoint: Its name, "last" or a former one as "last-1".
        changes: Setting → what it was and what it became, as "10 → 30".
        differences: What else was not as before, and was accepted.
    """

    at: datetime
    command: tuple[str, ...]
    epoch: int
    step: int
    checkpoint: str
    changes: Mapping[str, str] = field(default_factory=dict)
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewind:
    """Training went back to this epoch and step, and on at this learning rate."""

    epoch: int
    step: int
    learning_rate: float


@dataclass(frozen=True)
class Manifest:
    """What is known of a run. What comes later than the start is empty until then.

    Attributes:
        name: The experiment's name.
        version: The version of trainer.
        command: The command line that began the run, as words.
        seed: The seed.
        started: When the run began.
        process: The process that writes the run, or wrote it last.
        heartbeat: When that process last said it lives.
        status: running, finished, stopped (by a signal, can be resumed) or failed.
        python: Its version.
        platform: Operating system and kind of processor.
        processor: The processor's name.
        packages: Name → version.
        git: The config's repository, if it is in one.
        device: What it was trained on, in words.
        engine: How epochs were run.
        threads: Threads inside one operation.
        task: What is predicted.
        parameters: Weights of the network.
        data: The files that were read.
        splits: Split → rows.
        dropped: Reason → rows left out.
        epochs: Epochs that are done.
        best_epoch: The epoch of the best checkpoint, from 1.
        stopped_because: Why training ended, in words.
        weights_sha256: Hash of the weights that were evaluated.
        timings: Phase → seconds.
        ended: When the run ended.
        problems: Why it failed.
        warnings: What the user was warned of.
        resumptions: Each time another process went on with the run.
        rewinds: Each time the loss was not finite and training went back.
    """

    name: str
    version: str
    command: tuple[str, ...]
    seed: int
    started: datetime
    process: Process
    heartbeat: datetime
    status: Status = "running"
    python: str = ""
    platform: str = ""
    processor: str = later("")
    packages: Mapping[str, str] = field(default_factory=dict)
    git: Git | None = None
    device: str | None = None
    engine: str | None = None
    threads: int | None = None
    task: str | None = None
    parameters: int | None = None
    data: tuple[DataFile, ...] = ()
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
    resumptions: tuple[Resumption, ...] = later(())
    rewinds: tuple[Rewind, ...] = later(())

    def with_heartbeat(self, now: datetime) -> Self:
        """The run goes on."""
        return replace(self, heartbeat=now)

    def with_end(self, status: Status, now: datetime, problems: Sequence[Problem] = ()) -> Self:
        """The run has ended."""
        return replace(self, status=status, heartbeat=now, ended=now, problems=tuple(problems))

    def with_resumption(self, resumption: Resumption, process: Process) -> Self:
        """Another process goes on with the run; `command` and `started` stay."""
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
        """`seconds` more were spent in a phase."""
        spent = self.timings.get(phase, 0.0) + seconds
        return replace(self, timings={**self.timings, phase: spent})

    def with_warnings(self, *warnings: str) -> Self:
        """The user was warned of this too; what was said before is not said twice."""
        new = (warning for warning in dict.fromkeys(warnings) if warning not in self.warnings)
        return replace(self, warnings=(*self.warnings, *new))


def new_manifest(
    *,
    name: str,
    command: Sequence[str],
    seed: int,
    config_directory: Path,
    now: datetime,
    process: Process | None = None,
) -> Manifest:
    """The manifest of a run that begins, with what the machine says of itself.

    Takes less than a second, git included. `now` has a time zone; `process` is this one unless
    stated.
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


def shown_status(
    manifest: Manifest, now: datetime, here: Process, heartbeat: datetime | None = None
) -> ShownStatus:
    """The status, `dead` for a run that says it runs while no process does.

    A process on this machine is looked at; of another the newest heartbeat (the manifest's or the
    one given) is at most `DEAD_AFTER_SECONDS` old while it lives.
    """
    if manifest.status != "running":
        return manifest.status
    alive = is_alive(manifest.process, here)
    if alive is None:
        newest = max(manifest.heartbeat, heartbeat or manifest.heartbeat)
        alive = (now - newest).total_seconds() <= DEAD_AFTER_SECONDS
    return "running" if alive else "dead"


def write_manifest(path: Path, manifest: Manifest, disk: FileSystem = DISK) -> None:
    """Writes a manifest atomically.

    Raises:
        StorageError: It could not be written.
    """
    write_atomically(path, json_bytes(manifest_to_json(manifest)), disk)


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest.

    Raises:
        RunError: It is missing, damaged, or written by another version.
    """
    return manifest_from_json(read_json(path), path)


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """The form in JSON: the fields by name, times in ISO 8601."""
    return {"format": FORMAT, **to_json(manifest)}


def manifest_from_json(value: Any, path: Path) -> Manifest:
    """The manifest that stands at `path` as `value`; keys that are not known are passed over.

    Raises:
        RunError: It is damaged, or written by another version.
    """
    if isinstance(value, dict) and "format" in value and value["format"] != FORMAT:
        raise RunError(
            Problem(
                where=str(path),
                expected=f"a manifest of format {FORMAT}",
                found=f"format {readers.shown(value['format'])}",
                fix="it was written by another version of trainer; read it with that one",
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
                fix="take it from a copy of the run; `trainer fit` on its config.yaml repeats it",
            )
        ) from error
