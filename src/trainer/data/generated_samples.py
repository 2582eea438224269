"""Draw the random numbers that samples are made from, and make rows or images of what a generator
returns for them. The same seed gives the same samples, of which a smaller number is the beginning.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.data.arrays import Float32Array, Float64Array, RowIndex
from trainer.data.generated_columns import GeneratedRows, one_hot
from trainer.inputs import CONDITION, LATENT, Inputs

GRID_ROWS = 8
_MAX_GRID_CLASSES = 16
_SHOWN_SIDE = 32
_CLASSES, _LEVELS = 1, 2
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2


class Drawable(Protocol):
    """What the random numbers of samples depend on: `GeneratedRows`, or the schema of an export."""

    @property
    def target(self) -> str | None:
        """The column of the classes; None without classes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes."""

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Training rows of each class."""

    @property
    def conditions(self) -> int:
        """Number of classes that the generator is given; 0 for none."""

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """First column and number of columns of each one-hot part."""


@dataclass(frozen=True)
class Draw:
    """The random numbers of some samples.

    Attributes:
        latent: (samples, latent) float32, normal.
        classes: (samples,) class of each; all -1 if the generator is not given one.
        uniform: (samples, blocks): by which the level of each one-hot part is drawn.
        conditions: Number of classes that the generator is given.
    """

    latent: Float32Array
    classes: RowIndex
    uniform: Float64Array
    conditions: int

    @property
    def inputs(self) -> Inputs:
        """The inputs of the generator."""
        if not self.conditions:
            return {LATENT: self.latent}
        return {LATENT: self.latent, CONDITION: one_hot(self.classes, self.conditions)}


def draw_samples(
    rows: Drawable, latent: int, count: int, seed: int, only: int | None = None
) -> Draw:
    """Draw the random numbers of samples, with classes as frequent as in the training rows.

    Args:
        rows: What is generated.
        latent: Number of latent numbers.
        count: Number of samples.
        seed: The seed, at least 0.
        only: The class of all samples, if the generator is given one; None for all classes.
    """
    generators = [np.random.Generator(np.random.Philox(key=[seed, stream])) for stream in range(3)]
    classes = np.full(count, -1, np.int64)
    if rows.conditions:
        shares = np.cumsum(np.array(rows.class_counts) / sum(rows.class_counts))
        chosen = np.searchsorted(shares[:-1], generators[_CLASSES].random(count), side="right")
        classes = np.full(count, only, np.int64) if only is not None else chosen.astype(np.int64)
    return Draw(
        generators[0].standard_normal((count, latent), np.float32),
        classes,
        generators[_LEVELS].random((count, len(rows.blocks))),
        rows.conditions,
    )


def draw_grid(rows: GeneratedRows, latent: int, seed: int) -> Draw:
    """Draw the samples that are shown after each epoch: one column for each of up to 16 classes."""
    columns = grid_columns(rows)
    draw = draw_samples(rows, latent, GRID_ROWS * columns, seed)
    if not rows.conditions:
        return draw
    classes = np.arange(GRID_ROWS * columns, dtype=np.int64) % columns
    return Draw(draw.latent, classes % rows.conditions, draw.uniform, draw.conditions)


def grid_columns(rows: GeneratedRows) -> int:
    """Return the number of columns of the grid of samples."""
    return min(rows.conditions, _MAX_GRID_CLASSES) if rows.conditions > 1 else GRID_ROWS


def sampled_images(rows: GeneratedRows, values: Float32Array) -> NDArray[np.uint8]:
    """Return the images, (samples, height, width, channels), for values from -1 to 1."""
    assert rows.images is not None, "images are generated"
    pixels = np.rint((values.reshape(-1, *rows.images.shape) + 1) * 127.5)
    return np.asarray(np.clip(pixels, 0, 255), np.uint8)


def sampled_rows(rows: GeneratedRows, values: Float32Array, draw: Draw) -> pl.DataFrame:
    """Return the rows as a table, without the class that was given."""
    encoded = values.astype(np.float64)
    levels = np.zeros((len(encoded), len(rows.blocks)), np.int64)
    for index, (start, size) in enumerate(rows.blocks):
        logits = encoded[:, start : start + size]
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
        levels[:, index] = (shares[:, :-1] < draw.uniform[:, [index]]).sum(axis=1)
    return rows.decode(encoded, levels)


def sample_table(rows: GeneratedRows, values: Float32Array, draw: Draw) -> pl.DataFrame:
    """Return samples as a table: the columns or pixels, and the class that was given."""
    if rows.images is not None:
        table = rows.images.decode(sampled_images(rows, values))
    else:
        table = sampled_rows(rows, values, draw)
    return table if not rows.conditions else with_classes(table, rows, draw)


def with_classes(table: pl.DataFrame, rows: Drawable, draw: Draw) -> pl.DataFrame:
    """Return a table of samples with the class of each."""
    assert rows.target is not None, "there are classes"
    classes = pl.Series(rows.target, rows.classes).gather(draw.classes)
    return table.with_columns(classes)


def grid_png(images: NDArray[np.uint8], columns: int) -> bytes:
    """Return a PNG file with images side by side, and a line of white between them; small ones are
    enlarged.
    """
    factor = max(1, _SHOWN_SIDE // max(images.shape[1:3]))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, channels = images.shape
    rows = count // columns
    sheet = np.full((rows, height + 1, columns, width + 1, channels), 255, np.uint8)
    sheet[:, :height, :, :width] = images.reshape(rows, columns, height, width, channels).transpose(
        0, 2, 1, 3, 4
    )
    whole = sheet.reshape(rows * (height + 1), columns * (width + 1), channels)
    return png_bytes(whole[:-1, :-1])


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """Return a PNG file of an image (height, width, 1 or 3), the same bytes for the same image."""
    height, width, channels = image.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _RGB if channels == 3 else _GREY, 0, 0, 0)
    lines = np.zeros((height, 1 + width * channels), np.uint8)
    lines[:, 1:] = image.reshape(height, -1)
    parts: Sequence[tuple[bytes, bytes]] = (
        (b"IHDR", header),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
