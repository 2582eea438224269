"""Affine motions of images, a different one for each row, and their interpolation."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from trainer.config.augment import AugmentKind, Flip, Rotate, Shear, Shift, Zoom, span

if TYPE_CHECKING:
    from trainer.models.augment import Draws

_RADIANS = pi / 180


class Motion(NamedTuple):
    """Where the pixels of the moved image are in the original, relative to the center.

    row = yy · row' + yx · column' + y; column = xy · row' + xx · column' + x. Each is a number or a
    tensor (rows,).
    """

    yy: Any
    yx: Any
    y: Any
    xy: Any
    xx: Any
    x: Any

    @classmethod
    def none(cls) -> Motion:
        """Return the motion that changes nothing."""
        return cls(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

    def then(self, other: Motion) -> Motion:
        """Return this motion followed by another."""
        return Motion(
            self.yy * other.yy + self.yx * other.xy,
            self.yy * other.yx + self.yx * other.xx,
            self.yy * other.y + self.yx * other.x + self.y,
            self.xy * other.yy + self.xx * other.xy,
            self.xy * other.yx + self.xx * other.xx,
            self.xy * other.y + self.xx * other.x + self.x,
        )


def motion_of(kind: AugmentKind, draws: Draws, size: tuple[int, int]) -> Motion:
    """Return the motion of each row.

    Args:
        kind: The kind of motion.
        draws: Its random numbers.
        size: Height and width of the images.
    """
    none = Motion.none()
    match kind:
        case Flip():
            signs = [tf.where(draw < kind.probability, -1.0, 1.0) for draw in draws.uniform(2)]
            return none._replace(
                xx=1.0 if kind.direction == "vertical" else signs[0],
                yy=1.0 if kind.direction == "horizontal" else signs[1],
            )
        case Rotate():
            (degrees,) = draws.between(kind.probability, (span(kind.degrees), 0.0))
            cosine, sine = tf.cos(_RADIANS * degrees), tf.sin(_RADIANS * degrees)
            return Motion(cosine, sine, 0.0, -sine, cosine, 0.0)
        case Zoom():
            (scale,) = draws.between(kind.probability, (span(kind.factor, 1.0), 1.0))
            return none._replace(yy=1.0 / scale, xx=1.0 / scale)
        case Shift():
            factors = (
                kind.factor if factor is None else factor
                for factor in (kind.height_factor, kind.width_factor)
            )
            ranges = ((span(factor), 0.0) for factor in factors)
            down, right = (
                tf.round(share * length)
                for share, length in zip(
                    draws.between(kind.probability, *ranges), size, strict=True
                )
            )
            return none._replace(y=-down, x=-right)
        case Shear():
            slants = [
                tf.tan(_RADIANS * degrees)
                for degrees in draws.between(kind.probability, *[(span(kind.degrees), 0.0)] * 2)
            ]
            rows, columns = none._replace(xy=-slants[0]), none._replace(yx=-slants[1])
            if kind.direction == "both":
                return rows.then(columns)
            return rows if kind.direction == "horizontal" else columns
        case _:
            raise AssertionError(kind)


def resample(images: Any, motion: Motion, fill_mode: str, fill_value: float) -> Any:
    """Return moved images, by bilinear interpolation.

    Args:
        images: (rows, height, width, channels) float32.
        motion: Their motions.
        fill_mode: What is beyond the edges: reflect, nearest, wrap or constant.
        fill_value: The value of constant.
    """
    rows = tf.shape(images)[0]
    height, width, channels = (int(size) for size in images.shape[1:])
    middle = ((height - 1) / 2, (width - 1) / 2)
    down = (tf.range(height, dtype=tf.float32) - middle[0])[None, :, None]
    across = (tf.range(width, dtype=tf.float32) - middle[1])[None, None, :]
    yy, yx, y, xy, xx, x = (
        tf.broadcast_to(tf.convert_to_tensor(value, tf.float32), (rows,))[:, None, None]
        for value in motion
    )
    pixels = tf.reshape(images, (-1, channels))
    start = (tf.range(rows) * (height * width))[:, None, None]
    lower, upper = (
        _neighbors(position, length, fill_mode)
        for position, length in (
            (yy * down + yx * across + (y + middle[0]), height),
            (xy * down + xx * across + (x + middle[1]), width),
        )
    )

    def corner(row: Any, column: Any) -> Any:
        (row_index, row_inside, _), (column_index, column_inside, _) = row, column
        values = tf.gather(pixels, start + row_index * width + column_index)
        if fill_mode != "constant":
            return values
        return tf.where((row_inside & column_inside)[..., None], values, fill_value)

    return sum(
        (row[2] * column[2])[..., None] * corner(row, column) for row in lower for column in upper
    )


def _neighbors(position: Any, length: int, fill_mode: str) -> list[tuple[Any, Any, Any]]:
    """Return the pixels before and after positions along an axis: index, whether it is inside the
    image, and weight in the interpolation.
    """
    # Positions far outside do not overflow.
    before = tf.floor(tf.clip_by_value(position, -1e6, 1e6))
    share = position - before
    neighbors = []
    for offset, weight in ((0, 1.0 - share), (1, share)):
        index = tf.cast(before, tf.int32) + offset
        inside = (index >= 0) & (index < length)
        match fill_mode:
            case "reflect":
                index = tf.math.floormod(index, 2 * length)
                index = tf.minimum(index, 2 * length - 1 - index)
            case "wrap":
                index = tf.math.floormod(index, length)
            case _:
                index = tf.clip_by_value(index, 0, length - 1)
        neighbors.append((index, inside, weight))
    return neighbors
