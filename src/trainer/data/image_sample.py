"""Look at some images of a table, without decoding all: declared sizes, and examples of each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import polars as pl

from trainer.config.task_rules import TASK_RULES
from trainer.data.arrays import RowIndex
from trainer.data.dataset import Dataset
from trainer.data.image_decoding import BrokenImageError, ImageHeader, decode_image, read_header
from trainer.data.splits import DROPPED
from trainer.data.thumbnails import thumbnails
from trainer.metrics.labels import class_indices

_SAMPLED = 300
_EXAMPLES, _OF_CLASS, _CLASSES = 120, 10, 60
_MAX_BYTES = 2_000_000
_SIZES = 3


@dataclass(frozen=True, slots=True)
class HeaderSample:
    """What some files declare.

    Attributes:
        headers: The headers of those that can be read.
        broken: The paths of the others, and why.
    """

    headers: tuple[ImageHeader, ...]
    broken: tuple[tuple[str, str], ...]

    @property
    def files(self) -> int:
        """The number of files."""
        return len(self.headers) + len(self.broken)

    @property
    def sizes(self) -> list[tuple[tuple[int, int], int]]:
        """(width, height) and number of files, the most frequent first."""
        return Counter((header.width, header.height) for header in self.headers).most_common()

    def size_text(self) -> str:
        """Return the most frequent sizes: 640 × 480 (212), 480 × 640 (60), 15 other sizes."""
        sizes = self.sizes
        shown = [f"{width} × {height}" + (f" ({files:,})" if len(sizes) > 1 else "")
                 for (width, height), files in sizes[:_SIZES]]  # fmt: skip
        others = len(sizes) - len(shown)
        if others:
            shown.append(f"{others:,} other {'size' if others == 1 else 'sizes'}")
        return ", ".join(shown)


@dataclass(frozen=True, slots=True)
class ClassExamples:
    """Examples of the images of a class.

    Attributes:
        name: The class; empty for other tasks.
        paths: Their files.
        thumbnails: PNG or JPEG files of the decoded images.
        broken: Files that cannot be decoded, and why.
    """

    name: str
    paths: tuple[str, ...]
    thumbnails: tuple[bytes, ...]
    broken: tuple[tuple[str, str], ...]


def sample_headers(paths: pl.Series) -> HeaderSample:
    """Read the headers of at most 300 of the files, at regular distances."""
    rows = np.unique(np.linspace(0, len(paths) - 1, _SAMPLED).astype(np.int64))
    headers, broken = [], []
    for path in paths.gather(rows).drop_nulls():
        try:
            headers.append(read_header(path))
        except BrokenImageError as error:
            broken.append((path, str(error)))
    return HeaderSample(tuple(headers), tuple(broken))


def class_examples(dataset: Dataset) -> list[ClassExamples]:
    """Return at most 120 images of the rows that are used, as the network sees them, by class.

    At most 60 classes with at most 10 images each, at regular distances in the table.

    Args:
        dataset: A table with a column of images.
    """
    column = dataset.preprocessing.image
    assert column is not None, "the dataset has a column of images"
    paths = dataset.table.frame[column.name]
    chosen: list[tuple[str, list[str], list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]]] = []
    broken: dict[str, list[tuple[str, str]]] = {}
    for name, rows in _rows_of_classes(dataset).items():
        decoded, files = [], []
        broken[name] = []
        for path in paths.gather(rows).drop_nulls():
            try:
                decoded.append(decode_image(path, column.geometry).pixels)
                files.append(path)
            except BrokenImageError as error:
                broken[name].append((path, str(error)))
        chosen.append((name, files, decoded))
    pictures = iter(thumbnails([one for _, _, decoded in chosen for one in decoded], _MAX_BYTES))
    return [
        ClassExamples(name, tuple(files), tuple(islice(pictures, len(files))), tuple(broken[name]))
        for name, files, _ in chosen
    ]


def _rows_of_classes(dataset: Dataset) -> Mapping[str, RowIndex]:
    """Return the rows to show of each class."""
    rows = np.flatnonzero(dataset.assignment != DROPPED)
    target = dataset.preprocessing.target
    if not TASK_RULES[target.task].is_exclusive:
        return {"": _spread(rows, _EXAMPLES // 2)}
    classes = class_indices(dataset.targets(rows)[0])
    names: Sequence[str] = target.classes[:_CLASSES]
    each = max(1, min(_OF_CLASS, _EXAMPLES // len(names)))
    return {name: _spread(rows[classes == index], each) for index, name in enumerate(names)}


def _spread(rows: RowIndex, count: int) -> RowIndex:
    """Return some rows at regular distances."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
