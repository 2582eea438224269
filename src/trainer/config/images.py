"""The section `data.image`: size, color and scaling of images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.sections import Section, ValueName

if TYPE_CHECKING:
    from trainer.config.data import Data

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp",
    ".avif", ".avifs", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga",
    ".ico", ".icns", ".jp2", ".j2k", ".jpx", ".pcx", ".sgi", ".rgb", ".rgba", ".bw", ".psd",
    ".qoi", ".xbm", ".xpm", ".dds", ".im", ".msp", ".spi",
})  # fmt: skip
"""Extensions of images, in lower case."""

FOLDER_PATH, FOLDER_LABEL = "path", "label"
"""The columns of a folder of images, read as a table."""

DEFAULT_SIZE = 224

Side = Annotated[
    int,
    Field(ge=1, le=16_384),
    ValueName("a number of pixels from 1 to 16384", "numbers of pixels"),
]
Channel = Annotated[float, Field(ge=-255, le=255)]
PositiveChannel = Annotated[float, Field(gt=0, le=255)]


class FixedScale(Section):
    """Means and standard deviations of the channels, for values from 0 to 1."""

    mean: Annotated[list[Channel], Field(min_length=1, max_length=3)]
    """Mean of each channel, or one for all: [0.485, 0.456, 0.406]."""
    std: Annotated[list[PositiveChannel], Field(min_length=1, max_length=3)]
    """Standard deviation of each channel, or one for all: [0.229, 0.224, 0.225]."""


class Image(Section):
    """Size, color and scaling of images, which are decoded once into a cache of 8-bit values.

    EXIF orientation is applied, only the first frame of an animation is used, and transparent pixels
    become white.
    """

    size: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    """Resize to this side, or to [height, width], ignoring the aspect ratio. If neither this nor
    `resize` is set, 224."""
    resize: Side | None = None
    """Resize the shorter side to this, keeping the aspect ratio, then take the center `crop`; instead
    of `size`."""
    crop: Side | Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    """Size of the center crop taken after `resize`: one side, or [height, width]."""
    random_crop: bool = False
    """In training, take `crop` at another place in each epoch, within the central square of side
    `resize`; the place is a function of (seed, epoch, row). Other images have the center crop."""
    color: Literal["rgb", "grey"] = "rgb"
    """rgb: three channels. grey: one channel, the luminance."""
    scale: Literal["unit", "standardize"] | FixedScale = "unit"
    """unit: to [0, 1]. standardize: mean 0 and standard deviation 1 of each channel in the training
    rows. A mapping with the `mean` and `std` of each channel, for values from 0 to 1, standardizes with
    these."""
    broken: Literal["error", "drop"] = "error"
    """How images that cannot be decoded are handled. error: fit stops and lists them. drop: their rows
    are dropped; in predictions they are black, and marked as unseen."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels after resizing."""
        side = self.size if self.resize is None else self.crop
        side = DEFAULT_SIZE if side is None else side
        height, width = (side, side) if isinstance(side, int) else side
        return height, width, 1 if self.color == "grey" else 3

    @property
    def decoded_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images in the cache."""
        height, width, channels = self.shape
        if self.random_crop and self.resize is not None:
            height = width = self.resize
        return height, width, channels


def image_columns(data: Data) -> list[str]:
    """Return the columns with images."""
    return [name for name, column in data.columns.items() if column.kind == "image"]


def image_conflicts(data: Data) -> Iterator[Conflict]:
    """Yield conflicts in `data.image`."""
    image = data.image
    names = image_columns(data)
    changed = [name for name in Image.model_fields if differs_from_default(image, name)]
    if changed and not names:
        yield conflict(
            f"data.image.{changed[0]}",
            "image settings only with a folder of images or a column of kind image",
            "neither",
            "set data.columns.NAME.kind: image, or remove data.image",
            "data.columns",
        )
    for name in names[1:]:
        yield conflict(
            f"data.columns.{name}.kind",
            "one column of images",
            f"'{names[0]}' and '{name}'",
            "exclude one of them, and remove its kind",
            f"data.columns.{names[0]}.kind",
        )
    yield from _size_conflicts(image)
    if isinstance(image.scale, FixedScale):
        channels = image.shape[2]
        for setting, values in (("mean", image.scale.mean), ("std", image.scale.std)):
            if len(values) not in (1, channels):
                found, expected = f"{len(values)} numbers", f"one number, or {channels}"
                key = f"data.image.scale.{setting}"
                fix = "set one for each channel, or change data.image.color"
                yield conflict(key, expected, found, fix, "data.image.color")


def _size_conflicts(image: Image) -> Iterator[Conflict]:
    if image.resize is not None and image.size is not None:
        found, fix = f"size and resize: {image.resize}", "remove one of the two"
        expected = "either size, or resize with crop"
        yield conflict("data.image.resize", expected, found, fix, "data.image.size")
    if (image.resize is None) != (image.crop is None):
        present, missing = ("crop", "resize") if image.resize is None else ("resize", "crop")
        expected = "resize and crop together, as images may differ in shape"
        fix = f"set data.image.{missing}, or use data.image.size instead"
        yield conflict(f"data.image.{present}", expected, f"no {missing}", fix)
    elif image.resize is not None and max(image.shape[:2]) > image.resize:
        expected, found = f"a crop of at most data.image.resize, {image.resize}", f"{image.crop}"
        fix = "lower crop, or increase resize"
        yield conflict("data.image.crop", expected, found, fix, "data.image.resize")
    elif image.random_crop and (image.resize is None or set(image.shape[:2]) == {image.resize}):
        expected = "a crop smaller than data.image.resize with random_crop: true"
        found = "neither" if image.resize is None else f"resize and crop: {image.resize}"
        fix = "set data.image.resize and a smaller data.image.crop, or remove random_crop"
        yield conflict("data.image.random_crop", expected, found, fix, "data.image.resize")
