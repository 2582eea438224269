"""Decoded images on disk: each image is decoded once, by several processes, and then memory-mapped.

An entry of the cache is a folder with the arrays of `ImageFiles` and the list of broken files. Its name
is a hash of the paths, sizes and modification times of the files, in order, the size and color, and the
version of Pillow.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.arrays import BoolArray, RowIndex
from trainer.data.decoding_progress import progress
from trainer.data.entry_cache import EntryCache, sync_files
from trainer.data.image_decoding import Geometry, ImageFiles, worker_input
from trainer.errors import DataError, Problem, StorageError
from trainer.packages import install_command
from trainer.runs.machine import user_cache

_FORMAT = 1
_BROKEN = "broken.json"
_CHUNK = 32
# Fewer images are decoded in less time than a process takes to start.
_IMAGES_PER_PROCESS = 200
_MAX_PROCESSES = 64


@dataclass(frozen=True)
class CachedImages:
    """Images as the values of an input.

    Attributes:
        files: The decoded images.
        rows: int64 (n,): the image of each row.
        broken: Position in `files` → why the file could not be decoded; such images are 0.
        crop: Height and width of the center that is cut out; None for all.
    """

    files: ImageFiles
    rows: RowIndex
    broken: dict[int, str]
    crop: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        *size, channels = self.files.pixels.shape[1:]
        return (len(self.rows), *(size if self.crop is None else self.crop), channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.files.pixels.dtype

    @property
    def base(self) -> object:
        """The memory map, whose pages can be released."""
        return self.files.pixels.base

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        chosen = self.rows[rows]
        is_range = (
            len(chosen)
            and chosen[-1] - chosen[0] == len(chosen) - 1
            and np.all(np.diff(chosen) == 1)
        )
        pixels = self._cropped
        selected: NDArray[Any] = pixels[chosen[0] : chosen[-1] + 1] if is_range else pixels[chosen]
        return selected

    @property
    def _cropped(self) -> NDArray[Any]:
        pixels = self.files.pixels
        if self.crop is None:
            return pixels
        height, width = self.crop
        top, left = (pixels.shape[1] - height) // 2, (pixels.shape[2] - width) // 2
        return pixels[:, top : top + height, left : left + width]

    def select(self, rows: RowIndex) -> CachedImages:
        """Return some rows."""
        return replace(self, rows=self.rows[rows])

    def broken_mask(self) -> BoolArray:
        """Return which rows have a broken image, bool (n,)."""
        return np.isin(self.rows, list(self.broken))


def cache_root() -> Path:
    """Return the folder of the cache: `$XDG_CACHE_HOME/trainer/images`."""
    return user_cache() / "images"


def load_images(paths: pl.Series, geometry: Geometry) -> CachedImages:
    """Return the images of a column of paths, decoding those that are not in the cache.

    Args:
        paths: The paths; a missing one counts as a broken image.
        geometry: Size and color.

    Raises:
        DataError: Pillow is not installed.
        StorageError: There is not enough disk space.
    """
    if find_spec("PIL") is None:
        fix = install_command("images")
        raise DataError(Problem("", "Pillow, which decodes images", "no such package", fix))
    text = paths.cast(pl.String).fill_null("")
    distinct = text.unique(maintain_order=True)
    rows = np.arange(len(text), dtype=np.int64)
    if len(distinct) < len(text):
        positions = pl.Series(np.arange(len(distinct)))
        rows = text.replace_strict(distinct, positions, return_dtype=pl.Int64).to_numpy()
    files, broken = _entry(distinct.to_list(), geometry)
    return CachedImages(files, rows, broken)


def _entry(paths: Sequence[str], geometry: Geometry) -> tuple[ImageFiles, dict[int, str]]:
    size = len(paths) * geometry.height * geometry.width * geometry.channels
    return EntryCache(cache_root()).load(
        _key(paths, geometry),
        size,
        _open,
        lambda folder: _fill(folder, paths, geometry),
        "the decoded images",
    )


def _open(entry: Path) -> tuple[ImageFiles, dict[int, str]]:
    broken = json.loads((entry / _BROKEN).read_bytes())
    return ImageFiles(entry), {int(row): reason for row, reason in broken}


def _key(paths: Sequence[str], geometry: Geometry) -> str:
    settings = (_FORMAT, version("pillow"), *astuple(geometry))
    digest = hashlib.sha256(repr(settings).encode())
    for path in paths:
        try:
            info = os.stat(path)  # noqa: PTH116 (a Path costs more than the call)
            stamp = f"{info.st_size} {info.st_mtime_ns} {info.st_ctime_ns}"
        except (OSError, ValueError):
            stamp = "missing"
        digest.update(f"{os.path.abspath(path)}\0{stamp}\0".encode(errors="replace"))  # noqa: PTH100
    return digest.hexdigest()[:32]


def _fill(folder: Path, paths: Sequence[str], geometry: Geometry) -> None:
    """Decode files into a folder."""
    try:
        ImageFiles.create(folder, len(paths), geometry)
    except OSError as error:
        found = (error.strerror or str(error)).lower()
        fix = "set XDG_CACHE_HOME to another folder"
        expected = "a folder to which decoded images can be written"
        raise StorageError(Problem(str(folder), expected, found, fix)) from error
    broken: list[tuple[int, str]] = []
    done = 0
    show = progress.get()
    for part, count in _decoded_chunks(folder, paths, geometry):
        broken += part
        done += count
        if show is not None:
            show(done, len(paths))
    sync_files(folder)
    (folder / _BROKEN).write_text(json.dumps(sorted(broken)), encoding="utf-8")


def _decoded_chunks(
    folder: Path, paths: Sequence[str], geometry: Geometry
) -> Iterator[tuple[list[tuple[int, str]], int]]:
    """Yield the broken files and the number of files of each part that is decoded."""
    chunks = [(first, paths[first : first + _CHUNK]) for first in range(0, len(paths), _CHUNK)]
    workers = min(_cores(), len(paths) // _IMAGES_PER_PROCESS, _MAX_PROCESSES)
    if workers < 2:
        files = ImageFiles(folder, writable=True)
        for first, part in chunks:
            yield files.decode(first, part, geometry), len(part)
        return
    pool = _Workers(folder, geometry)
    with ThreadPoolExecutor(workers, "decode") as threads:
        try:
            yield from threads.map(pool.decode, chunks)
        finally:
            threads.shutdown(cancel_futures=True)
            pool.close()


class _Workers:
    """A pool of decoding processes, one for each thread that calls `decode`."""

    def __init__(self, folder: Path, geometry: Geometry) -> None:
        self._folder, self._geometry = folder, geometry
        self._idle: list[subprocess.Popen[str]] = []

    def decode(self, chunk: tuple[int, Sequence[str]]) -> tuple[list[tuple[int, str]], int]:
        """Decode files; a file that crashes the process counts as broken."""
        first, paths = chunk
        broken = self._send(first, paths)
        if broken is None:
            broken = []
            for row, path in enumerate(paths, first):
                alone = self._send(row, [path])
                broken += [(row, "the decoder crashed")] if alone is None else alone
        return broken, len(paths)

    def close(self) -> None:
        """End the processes."""
        for process in self._idle:
            process.kill()
            process.communicate()

    def _send(self, first: int, paths: Sequence[str]) -> list[tuple[int, str]] | None:
        try:
            process = self._idle.pop()
        except IndexError:
            process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps([first, *paths]) + "\n")
            process.stdin.flush()
            reply = process.stdout.readline()
        except OSError:
            reply = ""
        if not reply:
            process.kill()
            process.communicate()
            return None
        self._idle.append(process)
        return [(row, reason) for row, reason in json.loads(reply)]

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "trainer.data.image_decoding"]
        path = os.pathsep.join(filter(None, sys.path))
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            # Ctrl-C is for the parent, which ends its workers.
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(worker_input(self._folder, self._geometry) + "\n")
        return process


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_bytes() -> int:
    """Return the size of the cache in bytes."""
    return EntryCache(cache_root()).bytes()


def clear_cache() -> int:
    """Delete the cache, except entries that are being written; return the number of bytes freed."""
    return EntryCache(cache_root()).clear()
