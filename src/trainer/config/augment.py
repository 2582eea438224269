"""The kinds of random changes of training images, and the entries of `model.augment`.

To add a kind, write its class here, add it to `AUGMENT_KINDS`, and write what it does in
`trainer.models.augment`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from trainer.config.conflict import Conflict, conflict, differs_from_default
from trainer.config.kinds import Entry, Kind, entry_model, entry_union

Range = tuple[float, float]
"""The least and the greatest value that is drawn."""
Probability = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Pixel = Annotated[float, Field(ge=0, le=255)]
Alpha = Annotated[float, Field(gt=0, le=100)]
Angle = Annotated[float, Field(ge=0, le=180)]
SignedAngle = Annotated[float, Field(ge=-180, le=180)]
Angles = Angle | Annotated[list[SignedAngle], Field(min_length=2, max_length=2)]
Slant = Annotated[float, Field(ge=0, le=80)]
SignedSlant = Annotated[float, Field(ge=-80, le=80)]
Slants = Slant | Annotated[list[SignedSlant], Field(min_length=2, max_length=2)]
SignedShare = Annotated[float, Field(ge=-1, le=1)]
Shares = Share | Annotated[list[SignedShare], Field(min_length=2, max_length=2)]
Sizes = Share | Annotated[list[Share], Field(min_length=2, max_length=2)]
Change = Annotated[float, Field(ge=0, le=0.95)]
Scale = Annotated[float, Field(ge=0.05, le=20)]
Scales = Change | Annotated[list[Scale], Field(min_length=2, max_length=2)]
Multiplier = Annotated[float, Field(ge=0, le=20)]
Multipliers = Share | Annotated[list[Multiplier], Field(min_length=2, max_length=2)]
Direction = Literal["horizontal", "vertical", "both"]


def span(setting: float | list[float], center: float = 0.0) -> Range:
    """Return the range of a setting: [lower, upper], or a number for center ± number."""
    if isinstance(setting, list):
        return setting[0], setting[1]
    return center - setting, center + setting


class AugmentKind(Kind):
    """Base of the kinds; each image is changed by its own random numbers.

    Attributes:
        mixes: Whether an image, and its target, is mixed with that of another row of the batch.
        ranges: The settings that are a number or [lower, upper].
    """

    mixes: ClassVar[bool] = False
    ranges: ClassVar[tuple[str, ...]] = ()

    probability: Probability = 1.0
    """Probability that an image is changed."""

    def conflicts(self, key: str) -> Iterator[Conflict]:
        for name in self.ranges:
            value: float | list[float] | None = getattr(self, name)
            if isinstance(value, list) and value[0] > value[1]:
                found, fix = f"[{value[0]:g}, {value[1]:g}]", "swap the two numbers"
                yield conflict(f"{key}.{name}", "[lower, upper]", found, fix)


class Geometric(AugmentKind):
    """Base of the kinds that move pixels; successive ones are applied in a single interpolation."""

    fill_mode: Literal["reflect", "nearest", "wrap", "constant"] = "reflect"
    """What is seen beyond the edges. reflect: the mirrored image. nearest: the pixels of the edge.
    wrap: the opposite side. constant: `fill_value`."""
    fill_value: Pixel = 0.0
    """Value from 0 to 255 beyond the edges, with `fill_mode: constant`."""

    def conflicts(self, key: str) -> Iterator[Conflict]:
        yield from super().conflicts(key)
        if self.fill_mode != "constant" and differs_from_default(self, "fill_value"):
            yield conflict(
                f"{key}.fill_value",
                "fill_value only with fill_mode: constant",
                f"fill_mode: {self.fill_mode}",
                "set fill_mode to constant, or remove fill_value",
                f"{key}.fill_mode",
            )


class Flip(AugmentKind):
    """Mirrors images."""

    kind: ClassVar[str] = "flip"
    shorthand: ClassVar[str | None] = "direction"
    aliases: ClassVar[str] = (
        "random_flip randomflip horizontal_flip random_horizontal_flip hflip mirror left_right "
        "vertical_flip random_vertical_flip vflip fliplr flipud"
    )

    direction: Direction = "horizontal"
    """horizontal: left and right are swapped. vertical: top and bottom. both: each with this
    probability."""
    probability: Probability = 0.5
    """Probability that an image is mirrored."""


class Rotate(Geometric):
    """Rotates images around their center."""

    kind: ClassVar[str] = "rotate"
    shorthand: ClassVar[str | None] = "degrees"
    aliases: ClassVar[str] = "random_rotation rotation random_rotate rotation_range rot"
    ranges: ClassVar[tuple[str, ...]] = ("degrees",)

    degrees: Angles = 15.0
    """Greatest angle in either direction, or [lower, upper]; positive angles are counterclockwise."""

    def conflicts(self, key: str) -> Iterator[Conflict]:
        yield from super().conflicts(key)
        greatest = max(map(abs, span(self.degrees)))
        if 0 < greatest < 1:
            yield conflict(
                f"{key}.degrees",
                "an angle in degrees of at least 1",
                f"{greatest:g}",
                f"write {360 * greatest:g} if it is a fraction of a turn, as in Keras",
            )


class Zoom(Geometric):
    """Enlarges or reduces images around their center; the number of pixels remains."""

    kind: ClassVar[str] = "zoom"
    shorthand: ClassVar[str | None] = "factor"
    aliases: ClassVar[str] = "random_zoom zoom_range scale random_scale resize_range"
    ranges: ClassVar[tuple[str, ...]] = ("factor",)

    factor: Scales = 0.1
    """The image is scaled by 1 - factor to 1 + factor, or by [lower, upper]: [1, 1.5] enlarges only."""


class Shift(Geometric):
    """Moves images by a whole number of pixels."""

    kind: ClassVar[str] = "shift"
    shorthand: ClassVar[str | None] = "factor"
    aliases: ClassVar[str] = (
        "translate translation random_translation random_shift random_translate shift_range "
        "width_shift_range height_shift_range"
    )
    ranges: ClassVar[tuple[str, ...]] = ("factor", "height_factor", "width_factor")

    factor: Shares = 0.1
    """Greatest distance as a fraction of height and width, or [lower, upper]; positive is down and to
    the right."""
    height_factor: Shares | None = None
    """The same for the vertical distance; if unset, `factor`."""
    width_factor: Shares | None = None
    """The same for the horizontal distance; if unset, `factor`."""


class Shear(Geometric):
    """Slants images."""

    kind: ClassVar[str] = "shear"
    shorthand: ClassVar[str | None] = "degrees"
    aliases: ClassVar[str] = "random_shear shear_range skew slant"
    ranges: ClassVar[tuple[str, ...]] = ("degrees",)

    degrees: Slants = 10.0
    """Greatest angle in either direction, or [lower, upper]."""
    direction: Direction = "horizontal"
    """horizontal: rows are shifted against each other. vertical: columns. both: first rows, then
    columns, by different angles."""


class Brightness(AugmentKind):
    """Adds a number to all values of an image."""

    kind: ClassVar[str] = "brightness"
    shorthand: ClassVar[str | None] = "factor"
    aliases: ClassVar[str] = "random_brightness brightness_range lightness"
    ranges: ClassVar[tuple[str, ...]] = ("factor",)

    factor: Shares = 0.2
    """Greatest change as a fraction of the difference between black and white, or [lower, upper]."""


class Contrast(AugmentKind):
    """Multiplies the distance of each value from the mean of its channel in the image."""

    kind: ClassVar[str] = "contrast"
    shorthand: ClassVar[str | None] = "factor"
    aliases: ClassVar[str] = "random_contrast contrast_range"
    ranges: ClassVar[tuple[str, ...]] = ("factor",)

    factor: Multipliers = 0.2
    """It is multiplied by 1 - factor to 1 + factor, or by [lower, upper]."""


class Saturation(AugmentKind):
    """Multiplies the distance of each pixel from grey of the same brightness."""

    kind: ClassVar[str] = "saturation"
    shorthand: ClassVar[str | None] = "factor"
    aliases: ClassVar[str] = "random_saturation saturation_range random_color color_jitter"
    ranges: ClassVar[tuple[str, ...]] = ("factor",)

    factor: Multipliers = 0.3
    """It is multiplied by 1 - factor to 1 + factor, or by [lower, upper]; 0 is grey."""


class Noise(AugmentKind):
    """Adds normal noise to each value."""

    kind: ClassVar[str] = "noise"
    shorthand: ClassVar[str | None] = "stddev"
    aliases: ClassVar[str] = "gaussian_noise random_gaussian_noise random_noise gauss_noise"

    stddev: Share = 0.05
    """Standard deviation as a fraction of the difference between black and white."""


class Cutout(AugmentKind):
    """Covers a rectangle of the image, whose center is anywhere in it."""

    kind: ClassVar[str] = "cutout"
    shorthand: ClassVar[str | None] = "size"
    aliases: ClassVar[str] = (
        "random_cutout random_erasing randomerasing erasing coarse_dropout grid_mask"
    )
    ranges: ClassVar[tuple[str, ...]] = ("size",)

    size: Sizes = 0.3
    """Height and width as a fraction of those of the image, or [lower, upper] for both."""
    fill_value: Pixel = 0.0
    """Value from 0 to 255 of the rectangle."""


class Mixup(AugmentKind):
    """Averages an image and its target with those of another row of the batch."""

    kind: ClassVar[str] = "mixup"
    shorthand: ClassVar[str | None] = "alpha"
    aliases: ClassVar[str] = "mix_up randommixup random_mixup"
    mixes: ClassVar[bool] = True

    alpha: Alpha = 0.2
    """The weights of the two follow a beta distribution with these parameters, the larger weight for the
    row itself: 0.2 mixes most rows little, 1 all weights evenly."""


class CutMix(AugmentKind):
    """Replaces a rectangle of an image by that of another row of the batch, and averages their targets
    by area.
    """

    kind: ClassVar[str] = "cutmix"
    shorthand: ClassVar[str | None] = "alpha"
    aliases: ClassVar[str] = "cut_mix randomcutmix random_cutmix"
    mixes: ClassVar[bool] = True

    alpha: Alpha = 1.0
    """The area of the rectangle follows a beta distribution with these parameters, up to half of the
    image: 1 for all areas evenly."""


AUGMENT_KINDS: tuple[type[AugmentKind], ...] = (
    Flip,
    Rotate,
    Zoom,
    Shift,
    Shear,
    Brightness,
    Contrast,
    Saturation,
    Noise,
    Cutout,
    Mixup,
    CutMix,
)


class AugmentEntry(Entry):
    """An entry of `model.augment`: a mapping from the kind to its settings."""

    module: ClassVar[str] = "trainer.config.augment"

    @property
    def settings(self) -> AugmentKind:
        """The settings of the entry."""
        settings: AugmentKind = getattr(self, next(iter(type(self).model_fields)))
        return settings


# Where pickle looks them up.
globals().update(
    {entry.__name__: entry for entry in (entry_model(kind, AugmentEntry) for kind in AUGMENT_KINDS)}
)

if TYPE_CHECKING:
    Augment = AugmentEntry
else:
    Augment = entry_union(AUGMENT_KINDS, AugmentEntry)
