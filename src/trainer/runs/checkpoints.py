"""Checkpoints: a directory with a model, the rest of the training state, and their hashes.

    model.keras       written by a function of the caller
    state.npz         arrays by name: optimizer, seeds, position, callbacks, best so far
    checkpoint.json   format, metadata, size and SHA-256 of the other two; SHA-256 of all of this

Previous checkpoints are kept next to it: `last`, then `last-1`, `last-2`, …
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from trainer.errors import Problem, RunError
from trainer.runs.archives import Array, check_archive, read_arrays, write_arrays
from trainer.runs.directory_versions import (
    existing_directory,
    previous_directories,
    replace_directory,
)
from trainer.runs.files import (
    DISK,
    FileSystem,
    json_bytes,
    parse_json,
    read_bytes,
    read_errors,
    sha256_of,
    storage_errors,
)
from trainer.runs.readers import short_repr

FORMAT = 2
MODEL, STATE, METADATA = "model.keras", "state.npz", "checkpoint.json"
_ATTEMPTS = 20
_METADATA_BYTES = 1 << 24
_SEAL = re.compile(rb',\n  "sha256": "([0-9a-f]{64})"\n\}\n\Z')


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files match their hashes.

    Attributes:
        directory: The directory that contains `model`. While the run is training, the directory can
            be replaced by a newer one at any time: compare the loaded weights with `metadata`.
        metadata: Metadata from the writer (epoch, step, weights_sha256, …).
        state: Arrays by name.
    """

    directory: Path
    metadata: Mapping[str, Any]
    state: Mapping[str, Array]

    @property
    def model(self) -> Path:
        """The Keras file."""
        return self.directory / MODEL


def write_checkpoint(
    directory: Path,
    write_model: Callable[[Path], None] | None,
    state: Mapping[str, Array],
    metadata: Mapping[str, Any],
    disk: FileSystem = DISK,
    keep: int = 1,
) -> None:
    """Replace the checkpoint at `directory`; the old or the new one is readable at every moment.

    If the state of a `last` checkpoint refers to a `best` one, write the `best` one first.

    Args:
        directory: `checkpoints/last` or `checkpoints/best`; `checkpoints` is created if missing.
        write_model: Writes the model to the given path, which ends in `.keras`; None for a
            checkpoint of several models in training, which has no single model file.
        state: Arrays of numbers, booleans or text, by name.
        metadata: JSON values by name; `format`, `files` and `sha256` are reserved.
        disk: The file system operations to use.
        keep: Number of checkpoints to keep, including this one; previous ones are `<name>-1` (the
            newest) to `<name>-(keep-1)`.

    Raises:
        StorageError: The checkpoint could not be written; the previous ones remain readable.
    """
    reserved = {"format", "files", "sha256"} & set(metadata)
    if reserved or keep < 1:
        raise ValueError(f"metadata with {sorted(reserved)}, keep {keep}")

    def write(new: Path) -> None:
        if write_model is not None:
            write_model(new / MODEL)
        disk.write(new / STATE, partial(write_arrays, arrays=state))
        names = sorted(path.name for path in new.iterdir())
        files = {
            name: {"sha256": sha256_of(new / name), "bytes": (new / name).stat().st_size}
            for name in names
        }
        disk.write(new / METADATA, _sealed({"format": FORMAT, **metadata, "files": files}))

    with storage_errors(directory.parent, "create this directory"):
        # Not its parents: a run that was deleted during training must not be partially recreated.
        directory.parent.mkdir(exist_ok=True)
    replace_directory(directory, write, disk, keep)


def read_checkpoint(directory: Path) -> Checkpoint:
    """Read a checkpoint and verify the hash of each of its files.

    Raises:
        RunError: There is no checkpoint, or one of its files is missing, damaged or not written by
            trainer.
    """
    for _ in range(_ATTEMPTS):
        location = existing_directory(directory)
        if location is None:
            break
        before = _identity(location)
        try:
            return _read(location)
        except RunError:
            # A run in training replaces its checkpoints: only damage that persists is real.
            unchanged = existing_directory(directory) == location and _identity(location) == before
            if unchanged and before is not None:
                raise
    raise RunError(
        Problem(
            where=str(directory),
            expected="a checkpoint",
            found="none",
            fix="the run ended before writing one; repeat it with `trainer fit` on its config.yaml",
        )
    )


def read_newest_checkpoint(
    directory: Path, *, with_model: bool = True
) -> tuple[Checkpoint, tuple[Problem, ...]]:
    """Return the newest intact checkpoint among `directory` and the previous ones.

    No other process may write to them in the meantime.

    Args:
        directory: `checkpoints/last`.
        with_model: Whether a checkpoint without a model counts as damaged.

    Returns:
        The checkpoint, and the problems of newer ones that were skipped.

    Raises:
        RunError: There is none, or all are damaged; contains the problems of each.
    """
    skipped: list[Problem] = []
    previous = previous_directories(directory)
    if not directory.is_dir():
        if not previous:
            raise RunError(
                Problem(
                    where=str(directory),
                    expected="a checkpoint",
                    found="nothing to resume from",
                    fix="the run ended before writing one, or it was deleted; repeat the run with "
                    "`trainer fit` on its config.yaml",
                )
            )
        found = "none: the run was killed while replacing it, or it was deleted"
        skipped.append(Problem(str(directory), "a checkpoint", found))
    for location in [directory, *previous] if not skipped else previous:
        try:
            return _read(location, with_model=with_model), tuple(skipped)
        except RunError as error:
            skipped.extend(error.problems)
    fix = (
        "restore the directory from a copy of the run, or repeat the run with `trainer fit` on its "
        "config.yaml"
    )
    raise RunError(replace(problem, fix=fix) for problem in skipped)


def recorded_files(location: Path) -> dict[str, tuple[str, int]]:
    """Return the SHA-256 and the size of each file of a checkpoint, as its metadata recorded them.

    Raises:
        RunError: The metadata are missing, damaged or of another format.
    """
    metadata = _read_metadata(location / METADATA, set())
    return {name: _recorded(location, name, written) for name, written in metadata["files"].items()}


def _read(location: Path, *, with_model: bool = True) -> Checkpoint:
    run = location.parent.parent.resolve()
    if not location.resolve().is_relative_to(run):
        raise _damaged(location / METADATA, f"a file in {run}", f"a link to {location.resolve()}")
    metadata = _read_metadata(location / METADATA, {MODEL, STATE} if with_model else {STATE})
    for name, written in metadata["files"].items():
        _verify(location, name, written)
    if with_model:
        check_archive(location / MODEL)
    path = location / STATE
    # The same open file is verified and read: a run in training replaces its checkpoints.
    with read_errors(path), path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != metadata["files"][STATE]["sha256"]:
            raise _damaged(path, "unchanged content", "different content")
        file.seek(0)
        state = read_arrays(file, path)
    return Checkpoint(directory=location, metadata=metadata, state=state)


def _read_metadata(path: Path, needed: set[str]) -> dict[str, Any]:
    content = read_bytes(path, _METADATA_BYTES)
    metadata = parse_json(content, path)
    if not isinstance(metadata, dict) or "format" not in metadata or "files" not in metadata:
        raise _damaged(path, "the metadata of a checkpoint", "something else")
    if metadata["format"] != FORMAT:
        raise RunError(
            Problem(
                where=str(path),
                expected=f"format {FORMAT}",
                found=f"format {short_repr(metadata['format'])}",
                fix="use the version of trainer that wrote it (see manifest.json)",
            )
        )
    seal = _SEAL.search(content)
    if not seal or hashlib.sha256(content[: seal.start()]).hexdigest().encode() != seal[1]:
        raise _damaged(path, "unchanged metadata", "different metadata")
    files = metadata["files"]
    if not isinstance(files, dict) or not needed <= set(files):
        raise _damaged(path, f"the hashes of {' and '.join(sorted(needed))}", "something else")
    return metadata


def _sealed(metadata: Mapping[str, Any]) -> bytes:
    """Return the metadata as JSON whose last key is the SHA-256 of all bytes before it."""
    content = json_bytes(metadata).removesuffix(b"\n}\n")
    return content + f',\n  "sha256": "{hashlib.sha256(content).hexdigest()}"\n}}\n'.encode()


def _recorded(location: Path, name: str, written: object) -> tuple[str, int]:
    """Return the recorded SHA-256 and size of a file."""
    match written:
        case {"sha256": str(digest), "bytes": int(size)} if re.fullmatch(r"\w[\w.-]*", name):
            return digest, size
        case _:
            raise _damaged(
                location / METADATA, "file names with sha256 and bytes", short_repr(name)
            )


def _verify(location: Path, name: str, written: object) -> None:
    digest, size = _recorded(location, name, written)
    path = location / name
    if not path.exists():
        raise _damaged(path, "a file of the checkpoint", "no such file")
    with read_errors(path):
        if path.stat().st_size != size:
            raise _damaged(path, f"{size} bytes", f"{path.stat().st_size}")
        if sha256_of(path) != digest:
            raise _damaged(path, f"content with SHA-256 {digest[:12]}…", "different content")


def _damaged(path: Path, expected: str, found: str) -> RunError:
    other = path.parent.with_name("last" if path.parent.name == "best" else "best")
    fix = f"restore the directory from a copy of the run, or use its other checkpoint, {other}"
    return RunError(Problem(where=str(path), expected=expected, found=found, fix=fix))


def _identity(location: Path) -> tuple[int, int] | None:
    try:
        status = location.stat()
    except OSError:
        return None
    # The modification time as well: inode numbers of removed directories are reused.
    return status.st_ino, status.st_mtime_ns
