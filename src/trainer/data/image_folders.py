"""A folder of images as a table of `path` and `label`.

The label is the name of the top-level subfolder, at any depth of nesting; images at the top level have
none. Rows are in natural order of the labels, then of the paths. Links are followed. Nothing is
decoded.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

import polars as pl

from trainer.config.image_folders import is_image
from trainer.config.images import FOLDER_LABEL, FOLDER_PATH
from trainer.data.message_lists import quoted
from trainer.data.spellings import natural_sort
from trainer.data.splits import DROPPED, SPLIT_CODES, SPLIT_NAMES, SplitName
from trainer.errors import DataError, Problem, pluralize

FOLDER_SCHEMA = pl.Schema({FOLDER_PATH: pl.String(), FOLDER_LABEL: pl.String()})

_DIGITS = re.compile(r"\d+")
_SHOWN = 3
_SYSTEM_FOLDERS = frozenset({"__MACOSX", "__pycache__"})


@dataclass(slots=True)
class _Skipped:
    """Names of skipped files, by reason."""

    hidden: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def warnings(self, folder: Path) -> list[str]:
        skipped = (
            ("hidden image", "", self.hidden),
            ("file", " without the extension of an image", self.others),
            ("special file", " (pipes, sockets or devices)", self.special),
            ("dangling link", "", self.dangling),
            ("file", " with a name that is not UTF-8", self.unnamed),
        )
        warnings = [
            f"{folder}: skipped {pluralize(len(names), noun)}{text}: {quoted(names, _SHOWN)}"
            for noun, text, names in skipped
            if names
        ]
        if self.empty:
            warnings.append(
                f"{folder}: {pluralize(len(self.empty), 'file')} with no bytes: "
                f"{quoted(self.empty, _SHOWN)}; see data.image.broken"
            )
        return warnings


def read_image_folder(folder: Path) -> tuple[pl.DataFrame, list[str]]:
    """Return the images of a folder with their labels, and warnings.

    A single image is read as a folder with one image; its label is the name of the folder that contains
    it.

    Raises:
        DataError: A subfolder cannot be read, there are no images, or the subfolders are named like
            splits.
    """
    if folder.is_file():
        single = {FOLDER_PATH: [str(folder)], FOLDER_LABEL: [folder.absolute().parent.name]}
        return pl.DataFrame(single, schema=FOLDER_SCHEMA), []
    skipped = _Skipped()
    paths: list[str] = []
    labels: list[str | None] = []
    without_images = []
    tops = _subfolders(folder, skipped)
    for label in (None, *natural_sort(tops)):
        start = folder if label is None else folder / label
        names = [name for name, _ in _images(start, skipped, nested=label is not None)]
        names.sort(key=_natural_key)
        paths += [f"{start}/{name}" for name in names]
        labels += [label] * len(names)
        if label is not None and not names:
            without_images.append(label)
    if not paths:
        found = pluralize(len(skipped.others), "other file")
        fix = f"for tables, use the files in it: '{folder}/*.csv'"
        raise DataError(
            Problem(str(folder), "images in a subfolder for each class", f"none, {found}", fix)
        )
    _check_labels(folder, tops)
    frame = pl.DataFrame({FOLDER_PATH: paths, FOLDER_LABEL: labels}, schema=FOLDER_SCHEMA)
    warnings = skipped.warnings(folder)
    if without_images:
        names_text = quoted(without_images, _SHOWN)
        verb = "has" if len(without_images) == 1 else "have"
        count = pluralize(len(without_images), "subfolder")
        warnings.append(f"{folder}: {count} {verb} no images: {names_text}")
    return frame, warnings


def count_images(folder: Path) -> int:
    """Return the number of images, without sorting them."""
    if folder.is_file():
        return 1
    return sum(1 for _ in _images(folder, _Skipped(), stat=False))


def folder_fingerprint(folder: Path) -> tuple[int, str]:
    """Return the total size of the images in bytes, and a hash of their names and sizes."""
    size = digest = 0
    for name, length in _images(folder, _Skipped()):
        size += length
        content = f"{name}\0{length}".encode()
        # A sum does not depend on the order.
        digest += int.from_bytes(hashlib.blake2b(content, digest_size=24).digest(), "little")
    return size, hashlib.sha256(str(digest).encode()).hexdigest()


def _subfolders(folder: Path, skipped: _Skipped) -> list[str]:
    with _scan(folder) as entries:
        folders = [entry.name for entry in entries if _is_visible_folder(entry)]
    valid = [name for name in folders if _is_utf8(name)]
    skipped.unnamed += [_printable(name) for name in folders if not _is_utf8(name)]
    return valid


def _images(
    folder: Path, skipped: _Skipped, *, nested: bool = True, stat: bool = True
) -> Iterator[tuple[str, int]]:
    """Yield the path of each image relative to a folder, and its size; 0 without `stat`.

    Args:
        folder: The folder.
        skipped: Names of other files are added to it.
        nested: Whether to include subfolders.
        stat: Whether to look up the sizes.
    """
    visited = {_identity(path.stat()) for path in (folder, folder.parent)}
    pending = [""]
    while pending:
        inner = pending.pop()
        with _scan(folder / inner) as entries:
            for entry in entries:
                name = f"{inner}{entry.name}"
                if _is_visible_folder(entry):
                    if nested and _is_new(entry, visited):
                        pending.append(f"{name}/")
                elif entry.name in _SYSTEM_FOLDERS:
                    continue
                elif not entry.name.startswith("."):
                    size = _image_size(entry, name, skipped, stat=stat)
                    if size is not None:
                        yield name, size
                elif is_image(entry.name):
                    skipped.hidden.append(_printable(name))


def _image_size(entry: os.DirEntry[str], name: str, skipped: _Skipped, *, stat: bool) -> int | None:
    """Return the size of an image; None for other files."""
    if not is_image(entry.name):
        skipped.others.append(_printable(name))
        return None
    if not _is_utf8(name):
        skipped.unnamed.append(_printable(name))
        return None
    try:
        if not stat:
            return 0
        info = entry.stat()
    except OSError:
        skipped.dangling.append(name)
        return None
    if not S_ISREG(info.st_mode):
        # Reading a pipe would block forever.
        skipped.special.append(name)
        return None
    if info.st_size == 0:
        skipped.empty.append(name)
    return info.st_size


def _is_visible_folder(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or entry.name in _SYSTEM_FOLDERS:
        return False
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_new(entry: os.DirEntry[str], visited: set[tuple[int, int]]) -> bool:
    """Return whether a folder has not been visited; links can lead to one that contains them."""
    key = _identity(entry.stat())
    if key in visited:
        return False
    visited.add(key)
    return True


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


def _scan(folder: Path) -> os._ScandirIterator[str]:
    try:
        return os.scandir(folder)
    except OSError as error:
        found = (error.strerror or str(error)).lower()
        fix = f"try chmod u+rx '{folder}'" if isinstance(error, PermissionError) else ""
        raise DataError(Problem(str(folder), "a readable folder", found, fix)) from error


def split_folders(folder: Path) -> dict[SplitName, str]:
    """Return the subfolder of each split, if all subfolders are named like splits."""
    return _splits(_subfolders(folder, _Skipped()))


def _splits(labels: Sequence[str]) -> dict[SplitName, str]:
    codes = [SPLIT_CODES.get(label.lower(), DROPPED) for label in labels]
    splits = {SPLIT_NAMES[code]: label for code, label in zip(codes, labels, strict=True)}
    are_splits = len(labels) > 1 and DROPPED not in codes and len(splits) == len(labels)
    return splits if are_splits and "train" in splits else {}


def _check_labels(folder: Path, labels: list[str]) -> None:
    """Check that the subfolders are not splits.

    Raises:
        DataError: They are.
    """
    splits = _splits(labels)
    if splits:
        named = ", ".join(f"{split}: {folder / label}" for split, label in splits.items())
        found = quoted(labels, len(labels))
        fix = f"set data.source: {{{named}}}"
        raise DataError(Problem(str(folder), "a subfolder for each class", found, fix))


def _natural_key(name: str) -> tuple[str, str]:
    return _DIGITS.sub(lambda digits: digits[0].zfill(16), name), name


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(name: str) -> str:
    return name.encode(errors="replace").decode()
