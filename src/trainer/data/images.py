"""A column of image paths: how its images become the input `image` of the network."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import Field

from trainer.config.images import FixedScale, Image
from trainer.data.arrays import Float64Array
from trainer.data.fitted_base import FittedBase
from trainer.data.image_cache import CachedImages, load_images
from trainer.data.image_decoding import Geometry
from trainer.inputs import IMAGE, ImageScaling, InputSpec

_MAX = 255.0
_MIN_STD = 1e-3
Positive = Annotated[float, Field(gt=0)]


class ImageColumn(FittedBase):
    """A fitted column of images.

    Attributes:
        name: The column, with paths.
        height, width, resize, channels: See `Geometry`.
        mean: Mean of each channel, for values from 0 to 255; the network subtracts it.
        std: Standard deviation of each channel; the network divides by it.
        drop_broken: Whether rows with broken images are dropped.
        random_crop: Whether images are decoded as squares of side `resize`, from which training cuts out
            height × width at random places.
    """

    kind: Literal["image"] = "image"
    name: str
    height: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    resize: Annotated[int, Field(ge=1)] | None = None
    channels: Literal[1, 3]
    mean: tuple[float, ...]
    std: tuple[Positive, ...]
    drop_broken: bool = False
    random_crop: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """The columns of the input `features`: none, as images are a separate input."""
        return ()

    @property
    def geometry(self) -> Geometry:
        """How images are decoded into the cache."""
        height, width = self.height, self.width
        if self.random_crop:
            assert self.resize is not None, "a random crop needs a larger image"
            height = width = self.resize
        return Geometry(height, width, self.resize, self.channels)

    @property
    def random_size(self) -> tuple[int, int] | None:
        """Height and width that training cuts out of images at random places, or None."""
        return (self.height, self.width) if self.random_crop else None

    def load(self, paths: pl.Series) -> CachedImages:
        """Return the images of a column of paths, decoding those that are not in the cache.

        Raises:
            DataError: Pillow is not installed.
            StorageError: There is not enough disk space.
        """
        return replace(load_images(paths, self.geometry), crop=self.random_size)

    @property
    def spec(self) -> InputSpec:
        """The input of the network."""
        return InputSpec(IMAGE, (self.height, self.width, self.channels), "uint8")

    @property
    def scaling(self) -> ImageScaling:
        """How the network scales the values."""
        factors = tuple(1 / std for std in self.std)
        offsets = tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        if len({*zip(factors, offsets, strict=True)}) == 1:
            return ImageScaling(factors[:1], offsets[:1])
        return ImageScaling(factors, offsets)


class ImageAccumulator:
    """Accumulates nothing: a column of images is determined by its settings alone."""


def fit_image_column(name: str, image: Image) -> ImageColumn:
    """Return a column; with `scale: standardize`, `with_statistics` must be called."""
    height, width, channels = image.shape
    mean, std = [0.0], [1.0]
    if isinstance(image.scale, FixedScale):
        mean, std = image.scale.mean, image.scale.std
    return ImageColumn(
        name=name,
        height=height,
        width=width,
        resize=image.resize,
        channels=1 if channels == 1 else 3,
        mean=tuple(_MAX * value for value in (mean * channels)[:channels]),
        std=tuple(_MAX * value for value in (std * channels)[:channels]),
        drop_broken=image.broken == "drop",
        random_crop=image.random_crop,
    )


def with_statistics(column: ImageColumn, sums: Float64Array) -> ImageColumn:
    """Return the column with the mean and standard deviation of images.

    Args:
        column: The column.
        sums: (n, 2, channels); see `ImageFiles`.
    """
    pixels = column.geometry.height * column.geometry.width
    first, second = sums.sum(axis=0) / (len(sums) * pixels)
    std = np.sqrt(np.maximum(second - np.square(first), _MIN_STD**2))
    scale = {"mean": tuple(first.tolist()), "std": tuple(std.tolist())}
    return column.model_copy(update=scale)
