"""One checkpoint: a directory with a model, the rest of the training state, and their hashes.

    model.keras       written by the function that is handed in
    state.npz         arrays by name: optimizer, seeds, position, callbacks, best so far
    checkpoint.json   format, facts, and size and SHA-256 of the other two

Owns: writing the three as one, checking them when read. Does not own: what a model or a state is.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.errors import Problem, RunError
from trainer.runs.files import (
    DISK,
    FileSystem,
    existing_directory,
    json_bytes,
    read_bytes,
    read_json,
    replace_directory,
    sha256_of,
    storage_errors,
    storage_problem,
)

FORMAT = 1
MODEL, STATE, FACTS = "model.keras", "state.npz", "checkpoint.json"
_ATTEMPTS = 20

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are those that were written.

    Attributes:
        directory: Where it is; `model` is in it. While its run trains on, the directory can be
            replaced by a newer one at any time: compare the weights loaded with `facts`.
        facts: What the writer said of it (epoch, step, weights_sha256, …).
        state: Arrays by name.
    """

    directory: Path
    facts: Mapping[str, Any]
    state: Mapping[str, Array]

    @property
    def model(self) -> Path:
        """The Keras file."""
        return self.directory / MODEL


def write_checkpoint(
    directory: Path,
    write_model: Callable[[Path], None],
    state: Mapping[str, Array],
    facts: Mapping[str, Any],
    disk: FileSystem = DISK,
) -> None:
    """Writes a checkpoint in place of the former one; one of the two can be read at every moment.

    A best checkpoint that the state of a last one speaks of is to be written before that.

    Args:
        directory: `checkpoints/last` or `checkpoints/best`; `checkpoints` is made when missing.
        write_model: Writes the model to the path it is given, which ends in `.keras`.
        state: Arrays of numbers, truth values or text, by name.
        facts: JSON values by name; `format` and `files` are not free.
        disk: What it is written with.

    Raises:
        StorageError: It could not be written; the former one can still be read.
    """
    reserved = {"format", "files"} & set(facts)
    if reserved:
        raise ValueError(f"facts named {sorted(reserved)}")
    packed = _packed(state)

    def write(new: Path) -> None:
        write_model(new / MODEL)
        disk.write(new / STATE, packed)
        names = sorted(path.name for path in new.iterdir())
        files = {
            name: {"sha256": sha256_of(new / name), "bytes": (new / name).stat().st_size}
            for name in names
        }
        disk.write(new / FACTS, json_bytes({"format": FORMAT, **facts, "files": files}))

    with storage_errors(directory.parent, "make this directory"):
        # Not its parents: a run that was removed while it trained is not to come back in part.
        directory.parent.mkdir(exist_ok=True)
    replace_directory(directory, write, disk)


def read_checkpoint(directory: Path) -> Checkpoint:
    """Reads a checkpoint and checks each of its files against the hash it was written with.

    Raises:
        RunError: There is none, or a file of it is missing or damaged.
    """
    for _ in range(_ATTEMPTS):
        place = existing_directory(directory)
        if place is None:
            break
        before = _identity(place)
        try:
            return _read(place)
        except RunError:
            # A run that trains on replaces its checkpoints: damage is damage only if it stays.
            if before is not None and _identity(place) == before:
                raise
    raise RunError(
        Problem(
            where=str(directory),
            expected="a checkpoint",
            found="none",
            fix="the run ended before it wrote one; `trainer fit` on its config.yaml repeats it",
        )
    )


def _read(place: Path) -> Checkpoint:
    facts = read_json(place / FACTS)
    if not isinstance(facts, dict) or "format" not in facts or "files" not in facts:
        raise _damaged(place / FACTS, "the facts of a checkpoint", "something else")
    if facts["format"] != FORMAT:
        raise RunError(
            Problem(
                where=str(place / FACTS),
                expected=f"format {FORMAT}",
                found=f"format {facts['format']!r}",
                fix="another version of trainer wrote it: use that one; manifest.json says which",
            )
        )
    files = facts["files"]
    if not isinstance(files, dict) or not {MODEL, STATE} <= set(files):
        raise _damaged(place / FACTS, f"the hashes of {MODEL} and {STATE}", "something else")
    for name, written in files.items():
        _verify(place, name, written)
    content = read_bytes(place / STATE)
    if hashlib.sha256(content).hexdigest() != files[STATE]["sha256"]:
        raise _damaged(place / STATE, "the content it was written with", "other content")
    return Checkpoint(directory=place, facts=facts, state=_unpacked(content, place / STATE))


def _verify(place: Path, name: str, written: object) -> None:
    match written:
        case {"sha256": str(digest), "bytes": int(size)} if re.fullmatch(r"\w[\w.-]*", name):
            pass
        case _:
            raise _damaged(place / FACTS, "file names with sha256 and bytes", repr(name))
    path = place / name
    try:
        if path.stat().st_size != size:
            raise _damaged(path, f"{size} bytes", f"{path.stat().st_size}")
        if sha256_of(path) != digest:
            raise _damaged(path, f"content with SHA-256 {digest[:12]}…", "other content")
    except FileNotFoundError as error:
        raise _damaged(path, "this file of the checkpoint", "no such file") from error
    except OSError as error:
        raise RunError(storage_problem(path, "read this file", error)) from error


def _damaged(path: Path, expected: str, found: str) -> RunError:
    other = {"last": "best", "best": "last"}
    name = path.parent.name.removesuffix(".old")
    fix = "take the directory from a copy of the run"
    if name in other:
        fix += f", or name the run's other checkpoint, {path.parent.parent / other[name]}"
    return RunError(Problem(where=str(path), expected=expected, found=found, fix=fix))


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        facts = place.stat()
    except OSError:
        return None
    # The modification time as well: a removed directory's number is given to the next one made.
    return facts.st_ino, facts.st_mtime_ns


def _packed(state: Mapping[str, Array]) -> bytes:
    """The `.npz` of a state: the same bytes for the same arrays, no pickled objects."""
    # numpy.savez takes the names as keyword arguments, of which it keeps two for itself.
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, value in state.items():
            array = np.asanyarray(value)
            if array.dtype.kind not in "biufcSU":
                raise TypeError(f"state {name!r} has dtype {array.dtype}, which a .npz cannot keep")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()


def _unpacked(content: bytes, path: Path) -> dict[str, Array]:
    try:
        with np.load(BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile, KeyError) as error:
        raise _damaged(path, "arrays", f"damage ({error})") from error
