"""One checkpoint: a directory with a model, the rest of the training state, and their hashes.

    model.keras       written by the function that is handed in
    state.npz         arrays by name: optimizer, seeds, position, callbacks, best so far
    checkpoint.json   format, facts, size and SHA-256 of the other two; SHA-256 of all that

Former ones stand beside it: `last`, then `last-1`, `last-2`, …

Owns: writing the three as one, checking them when read, finding the newest that is sound. Does not
own: what a model or a state is, how arrays are packed (`archives`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer.errors import Problem, RunError
from trainer.runs.archives import Array, check_archive, pack_arrays, unpack_arrays
from trainer.runs.files import (
    DISK,
    FileSystem,
    existing_directory,
    former_directories,
    json_bytes,
    json_value,
    read_bytes,
    reading,
    replace_directory,
    sha256_of,
    storage_errors,
)
from trainer.runs.readers import shown

FORMAT = 2
MODEL, STATE, FACTS = "model.keras", "state.npz", "checkpoint.json"
_ATTEMPTS = 20
_FACTS_BYTES = 1 << 24
_SEAL = re.compile(rb',\n  "sha256": "([0-9a-f]{64})"\n\}\n\Z')


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
    write_model: Callable[[Path], None] | None,
    state: Mapping[str, Array],
    facts: Mapping[str, Any],
    disk: FileSystem = DISK,
    keep: int = 1,
) -> None:
    """Writes a checkpoint in place of the former one; one of the two can be read at every moment.

    A best checkpoint that the state of a last one speaks of is to be written before that.

    Args:
        directory: `checkpoints/last` or `checkpoints/best`; `checkpoints` is made when missing.
        write_model: Writes the model to the path it is given, which ends in `.keras`; None for a
            checkpoint without one, of several networks in training.
        state: Arrays of numbers, truth values or text, by name.
        facts: JSON values by name; `format`, `files` and `sha256` are not free.
        disk: What it is written with.
        keep: How many are kept, this one included; the former ones are `<name>-1` (the newest of
            them) to `<name>-(keep-1)`.

    Raises:
        StorageError: It could not be written; the former ones can still be read.
    """
    reserved = {"format", "files", "sha256"} & set(facts)
    if reserved or keep < 1:
        raise ValueError(f"facts named {sorted(reserved)}, keep {keep}")
    packed = pack_arrays(state)

    def write(new: Path) -> None:
        if write_model is not None:
            write_model(new / MODEL)
        disk.write(new / STATE, packed)
        names = sorted(path.name for path in new.iterdir())
        files = {
            name: {"sha256": sha256_of(new / name), "bytes": (new / name).stat().st_size}
            for name in names
        }
        disk.write(new / FACTS, _sealed({"format": FORMAT, **facts, "files": files}))

    with storage_errors(directory.parent, "make this directory"):
        # Not its parents: a run that was removed while it trained is not to come back in part.
        directory.parent.mkdir(exist_ok=True)
    replace_directory(directory, write, disk, keep)


def read_checkpoint(directory: Path) -> Checkpoint:
    """Reads a checkpoint and checks each of its files against the hash it was written with.

    Raises:
        RunError: There is none, or a file of it is missing, damaged or not the checkpoint's own.
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
            still = existing_directory(directory) == place and _identity(place) == before
            if still and before is not None:
                raise
    raise RunError(
        Problem(
            where=str(directory),
            expected="a checkpoint",
            found="none",
            fix="the run ended before it wrote one; `trainer fit` on its config.yaml repeats it",
        )
    )


def read_newest(
    directory: Path, *, with_model: bool = True
) -> tuple[Checkpoint, tuple[Problem, ...]]:
    """The newest sound checkpoint among `directory` and the former ones; nobody may write them.

    Args:
        directory: `checkpoints/last`.
        with_model: One without a model is damaged.

    Returns:
        The checkpoint (its `directory` says which), and why newer ones were passed over.

    Raises:
        RunError: There is none, or all are damaged; then with the problems of each.
    """
    passed: list[Problem] = []
    former = former_directories(directory)
    if not directory.is_dir():
        if not former:
            raise RunError(
                Problem(
                    where=str(directory),
                    expected="a checkpoint",
                    found="nothing to resume from",
                    fix="the run ended before it wrote one, or it was removed; `trainer fit` on "
                    "the run's config.yaml repeats it",
                )
            )
        found = "none: the run was killed while it replaced it, or it was removed"
        passed.append(Problem(str(directory), "a checkpoint", found))
    for place in [directory, *former] if not passed else former:
        try:
            return _read(place, with_model=with_model), tuple(passed)
        except RunError as error:
            passed.extend(error.problems)
    fix = (
        "take the directory from a copy of the run, or repeat it: `trainer fit` on its config.yaml"
    )
    raise RunError(replace(problem, fix=fix) for problem in passed)


def _read(place: Path, *, with_model: bool = True) -> Checkpoint:
    run = place.parent.parent.resolve()
    if not place.resolve().is_relative_to(run):
        raise _damaged(place / FACTS, f"a file in {run}", f"a link to {place.resolve()}")
    facts = _facts(place / FACTS, {MODEL, STATE} if with_model else {STATE})
    for name, written in facts["files"].items():
        _verify(place, name, written)
    if with_model:
        check_archive(place / MODEL)
    content = read_bytes(place / STATE)
    if hashlib.sha256(content).hexdigest() != facts["files"][STATE]["sha256"]:
        raise _damaged(place / STATE, "the content it was written with", "other content")
    return Checkpoint(directory=place, facts=facts, state=unpack_arrays(content, place / STATE))


def _facts(path: Path, needed: set[str]) -> dict[str, Any]:
    content = read_bytes(path, _FACTS_BYTES)
    facts = json_value(content, path)
    if not isinstance(facts, dict) or "format" not in facts or "files" not in facts:
        raise _damaged(path, "the facts of a checkpoint", "something else")
    if facts["format"] != FORMAT:
        raise RunError(
            Problem(
                where=str(path),
                expected=f"format {FORMAT}",
                found=f"format {shown(facts['format'])}",
                fix="another version of trainer wrote it: use that one; manifest.json says which",
            )
        )
    seal = _SEAL.search(content)
    if not seal or hashlib.sha256(content[: seal.start()]).hexdigest().encode() != seal[1]:
        raise _damaged(path, "the facts that were written", "other ones")
    files = facts["files"]
    if not isinstance(files, dict) or not needed <= set(files):
        raise _damaged(path, f"the hashes of {' and '.join(sorted(needed))}", "something else")
    return facts


def _sealed(facts: Mapping[str, Any]) -> bytes:
    """The facts as JSON whose last key is the SHA-256 of all bytes before it."""
    content = json_bytes(facts).removesuffix(b"\n}\n")
    return content + f',\n  "sha256": "{hashlib.sha256(content).hexdigest()}"\n}}\n'.encode()


def _verify(place: Path, name: str, written: object) -> None:
    match written:
        case {"sha256": str(digest), "bytes": int(size)} if re.fullmatch(r"\w[\w.-]*", name):
            pass
        case _:
            raise _damaged(place / FACTS, "file names with sha256 and bytes", shown(name))
    path = place / name
    if not path.exists():
        raise _damaged(path, "this file of the checkpoint", "no such file")
    with reading(path):
        if path.stat().st_size != size:
            raise _damaged(path, f"{size} bytes", f"{path.stat().st_size}")
        if sha256_of(path) != digest:
            raise _damaged(path, f"content with SHA-256 {digest[:12]}…", "other content")


def _damaged(path: Path, expected: str, found: str) -> RunError:
    other = path.parent.with_name("last" if path.parent.name == "best" else "best")
    fix = f"take the directory from a copy of the run, or name its other checkpoint, {other}"
    return RunError(Problem(where=str(path), expected=expected, found=found, fix=fix))


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        facts = place.stat()
    except OSError:
        return None
    # The modification time as well: a removed directory's number is given to the next one made.
    return facts.st_ino, facts.st_mtime_ns
