"""Random changes of training images on the device, as pure functions of (seed, epoch, row).

uint8 images ─ random crop ─► float32 ─ the kinds of `model.augment`, in order ─► rounded to uint8

Keras's layers keep seed generators and do not compile under XLA. Here a random number is a hash of seed,
epoch, row, and position in the list (`trainer.models.noise`), so that a resumed run draws the same
numbers without having saved any. The changed images have the form of the others: what the network is
trained on can be looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.config.augment import (
    AugmentKind,
    Brightness,
    Contrast,
    CutMix,
    Cutout,
    Flip,
    Geometric,
    Mixup,
    Noise,
    Range,
    Saturation,
    span,
)
from trainer.config.schema import Config
from trainer.inputs import IMAGE
from trainer.models.image_motions import Motion, motion_of, resample
from trainer.models.noise import permute_bits, stacked_normal, stacked_uniform
from trainer.models.seeds import derived_seed

_WHITE = 255.0
# Brightness of red, green and blue (ITU-R BT.601).
_GREY = (0.299, 0.587, 0.114)
_SLOTS = 64
"""Draws per epoch and row: two for each of the at most 30 kinds, and two for the crop."""
_QUANTILES = 1025


def build_augmentation(config: Config, crop: tuple[int, int] | None) -> Augmentation | None:
    """Return the random changes of training images, or None if there are none.

    Args:
        config: Its `model.augment` and `seed` are used.
        crop: Height and width that are cut out first, at a random place; None for all.
    """
    kinds = [entry.settings for entry in config.model.augment]
    return Augmentation(kinds, config.seed, crop) if kinds or crop else None


class Draws:
    """The random numbers of one kind for the rows of a batch."""

    def __init__(self, row_bits: Any, epoch: Any, slot: int) -> None:
        """Initialize the draws.

        Args:
            row_bits: (rows,) uint32, a hash of the row and the seed.
            epoch: (rows,) uint32.
            slot: Position in the list of kinds, from 0 to 31.
        """
        self._row_bits = row_bits
        self._count = epoch * _uint32(_SLOTS) + _uint32(2 * slot)

    def uniform(self, count: int) -> list[Any]:
        """Return `count` tensors (rows,) of numbers in [0, 1)."""
        seeds = tf.stack([self._row_bits, self._count], axis=1)
        return tf.unstack(stacked_uniform((count,), seeds), axis=1)  # type: ignore[no-any-return]

    def normal(self, shape: tuple[int, ...]) -> Any:
        """Return (rows, *shape) standard normal numbers."""
        seeds = tf.stack([self._row_bits, self._count + _uint32(1)], axis=1)
        return stacked_normal(shape, seeds)

    def between(self, probability: float, *ranges: tuple[Range, float]) -> list[Any]:
        """Return a tensor (rows,) for each range, with a neutral value for rows that are not changed.

        Args:
            probability: Probability that a row is changed.
            ranges: Range and neutral value.
        """
        chosen, *draws = self.uniform(1 + len(ranges))
        is_chosen = chosen < probability
        return [
            tf.where(is_chosen, low + (high - low) * draw, neutral)
            for ((low, high), neutral), draw in zip(ranges, draws, strict=True)
        ]


class Rows(NamedTuple):
    """Rows of a batch.

    Attributes:
        images: (rows, height, width, channels), from 0 to 255.
        y: (rows, outputs) targets.
        weight: (rows,) sample weights, or None.
    """

    images: Any
    y: Any
    weight: Any


class Augmentation:
    """Changes the images of a batch, and its targets if rows are mixed."""

    def __init__(
        self, kinds: Sequence[AugmentKind], seed: int, crop: tuple[int, int] | None = None
    ) -> None:
        """Initialize the augmentation.

        Args:
            kinds: The kinds, in order; at most 30.
            seed: Seed of the config.
            crop: Height and width that are cut out first, at a random place; None for all.
        """
        self._seeds = [derived_seed(seed, "augment", purpose) for purpose in ("rows", "draws")]
        self._kinds, self._crop = tuple(kinds), crop
        # Also within a program that is not compiled: XLA merges the many small operations.
        self._program = tf.function(self._changed, jit_compile=True, autograph=False)

    def __call__(self, batch: tuple[Any, ...], keys: Any) -> tuple[Any, ...]:
        """Return the batch with changed images; for use in a `tf.function`.

        Args:
            batch: Inputs, targets, and sample weights if there are any.
            keys: (rows, 2) int32: position of the row in the training rows, and epoch.
        """
        x, y, *weights = batch
        images = x[IMAGE] if isinstance(x, dict) else x
        rows = Rows(*self._program(Rows(images, y, weights[0] if weights else None), keys))
        x = {**x, IMAGE: rows.images} if isinstance(x, dict) else rows.images
        return (x, rows.y, rows.weight) if weights else (x, rows.y)

    def _changed(self, rows: Rows, keys: Any) -> Rows:
        position, epoch = tf.unstack(tf.cast(keys, tf.uint32), axis=1)
        first, second = map(_uint32, self._seeds)
        row_bits = permute_bits(position + first) ^ second
        if self._crop is not None:
            rows = rows._replace(
                images=random_crop(rows.images, self._crop, Draws(row_bits, epoch, 0))
            )
        if not self._kinds:
            return rows
        rows = rows._replace(images=tf.cast(rows.images, tf.float32))
        for group in _groups(self._kinds):
            draws = [Draws(row_bits, epoch, 1 + index) for index, _ in group]
            kinds = [kind for _, kind in group]
            if _moves(kinds[0]):
                images = moved(rows.images, kinds, draws)
            elif kinds[0].mixes:
                rows = mixed(rows, kinds[0], draws[0])
                continue
            else:
                images = recolored(rows.images, kinds[0], draws[0])
            rows = rows._replace(images=images)
        # XLA on a CPU vectorizes the conversion to signed integers only.
        pixels = tf.cast(tf.round(tf.clip_by_value(rows.images, 0.0, _WHITE)), tf.int32)
        return rows._replace(images=tf.cast(pixels, tf.uint8))


def _groups(kinds: Sequence[AugmentKind]) -> list[list[tuple[int, AugmentKind]]]:
    """Return the kinds with their positions; those in a group are applied in one interpolation."""
    groups: list[list[tuple[int, AugmentKind]]] = []
    for index, kind in enumerate(kinds):
        before = [] if not groups else [other for _, other in groups[-1]]
        if before and _moves(kind) and _moves(before[0]) and len(_fills([*before, kind])) < 2:
            groups[-1].append((index, kind))
        else:
            groups.append([(index, kind)])
    return groups


def _moves(kind: AugmentKind) -> bool:
    return isinstance(kind, Geometric | Flip)


def _fills(kinds: Sequence[AugmentKind]) -> set[tuple[str, float]]:
    return {(kind.fill_mode, kind.fill_value) for kind in kinds if isinstance(kind, Geometric)}


def random_crop(images: Any, size: tuple[int, int], draws: Draws) -> Any:
    """Return a rectangle of each image at a random place, (rows, *size, channels)."""
    for axis, (length, draw) in enumerate(zip(size, draws.uniform(2), strict=True), 1):
        margin = int(images.shape[axis]) - length
        first = tf.cast(tf.floor(draw * (margin + 1)), tf.int32)
        indices = first[:, None] + tf.range(length)[None]
        images = tf.gather(images, indices, axis=axis, batch_dims=1)
    return images


def moved(images: Any, kinds: Sequence[AugmentKind], draws: Sequence[Draws]) -> Any:
    """Return the images after several motions, in a single interpolation."""
    height, width = int(images.shape[1]), int(images.shape[2])
    motion = Motion.none()
    for kind, draw in zip(kinds, draws, strict=True):
        motion = motion.then(motion_of(kind, draw, (height, width)))
    ((mode, value),) = _fills(kinds) or {("nearest", 0.0)}
    return resample(images, motion, mode, value)


def recolored(images: Any, kind: AugmentKind, draws: Draws) -> Any:
    """Return the images after a change of their values; those of Keras are clipped as well."""
    match kind:
        case Brightness():
            (factor,) = draws.between(kind.probability, (span(kind.factor), 0.0))
            images += _WHITE * _per_row(factor)
        case Contrast():
            (factor,) = draws.between(kind.probability, (span(kind.factor, 1.0), 1.0))
            mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
            images = mean + _per_row(factor) * (images - mean)
        case Saturation():
            (factor,) = draws.between(kind.probability, (span(kind.factor, 1.0), 1.0))
            grey = tf.reduce_sum(images * tf.constant(_GREY), axis=3, keepdims=True)
            images = grey + _per_row(factor) * (images - grey)
        case Noise():
            deviation = _WHITE * kind.stddev
            (scale,) = draws.between(kind.probability, ((deviation, deviation), 0.0))
            shape = tuple(int(size) for size in images.shape[1:])
            images += _per_row(scale) * draws.normal(shape)
        case Cutout():
            sizes = span(kind.size) if isinstance(kind.size, list) else (kind.size, kind.size)
            size, *center = draws.between(
                kind.probability, (sizes, 0.0), ((0.0, 1.0), 0.0), ((0.0, 1.0), 0.0)
            )
            return tf.where(rectangle(images, size, center), kind.fill_value, images)
        case _:
            raise AssertionError(kind)
    return tf.clip_by_value(images, 0.0, _WHITE)


def rectangle(images: Any, size: Any, center: Sequence[Any]) -> Any:
    """Return which pixels are in a rectangle of each image, bool (rows, height, width, 1).

    Args:
        images: (rows, height, width, channels).
        size: (rows,) height and width as a fraction of those of the image.
        center: (rows,) vertical and (rows,) horizontal position, from 0 to 1.
    """
    inside = []
    for axis, position in enumerate(center, 1):
        length = int(images.shape[axis])
        pixels = (tf.range(length, dtype=tf.float32) + 0.5) / length
        inside.append(tf.abs(pixels[None] - position[:, None]) < size[:, None] / 2)
    down, across = inside
    return (down[:, :, None] & across[:, None, :])[..., None]


def mixed(rows: Rows, kind: AugmentKind, draws: Draws) -> Rows:
    """Return the rows mixed with other rows of the batch, which keep the smaller share."""
    assert isinstance(kind, Mixup | CutMix), kind
    (quantile,) = draws.between(kind.probability, ((0.0, 1.0), 0.0))
    order, *center = draws.uniform(5)[2:]
    share = _interpolated(smaller_shares(kind.alpha), quantile)
    partner = tf.argsort(order, stable=True)
    others = tf.gather(rows.images, partner)
    if isinstance(kind, CutMix):
        is_other = rectangle(rows.images, tf.sqrt(share), center)
        images = tf.where(is_other, others, rows.images)
        share = tf.reduce_mean(tf.cast(is_other, tf.float32), axis=(1, 2, 3))
    else:
        images = rows.images + _per_row(share) * (others - rows.images)
    weight = rows.weight
    if weight is not None:
        # For a loss that is linear in the targets, the sum of both weighted losses.
        part = share * tf.gather(weight, partner)
        weight = (1.0 - share) * weight + part
        share = tf.math.divide_no_nan(part, weight)
    y = rows.y + share[:, None] * (tf.gather(rows.y, partner) - rows.y)
    return Rows(images, y, weight)


def smaller_shares(alpha: float) -> NDArray[np.float32]:
    """Return 1025 evenly spaced quantiles of the smaller of two shares whose distribution is
    Beta(alpha, alpha), from 0 to 1/2.
    """
    # In terms of s = share^e the density is bounded for every alpha.
    exponent = min(alpha, 1.0)
    s = np.linspace(0.0, 0.5**exponent, 1 << 14)
    share = s ** (1.0 / exponent)
    density = share ** (alpha - exponent) * (1.0 - share) ** (alpha - 1.0)
    cumulative = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    levels = np.linspace(0.0, cumulative[-1], _QUANTILES)
    quantiles = np.interp(levels, cumulative, s) ** (1.0 / exponent)
    return quantiles.astype(np.float32)


def _interpolated(table: NDArray[np.float32], position: Any) -> Any:
    """Interpolate a table linearly at positions from 0 to 1, exclusive."""
    scaled = position * (len(table) - 1)
    first = tf.cast(tf.floor(scaled), tf.int32)
    low, high = tf.gather(table, first), tf.gather(table, first + 1)
    return low + (scaled - tf.cast(first, tf.float32)) * (high - low)


def _per_row(values: Any) -> Any:
    return values[:, None, None, None]


def _uint32(value: int) -> Any:
    return tf.constant(value, tf.uint32)
