"""Layers without weights that change the shape or the scale of their inputs."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from trainer.config.conflict import Conflict, conflict
from trainer.config.layers.base import LayerKind, Shape, ShapeError, Stacking, shape_text
from trainer.config.layers.settings import Extents
from trainer.config.layers.windows import per_axis, require_axes

_Margin = Annotated[int, Field(ge=0, le=10_000)]


class Flatten(LayerKind):
    """Flattens each sample to one axis."""

    kind: ClassVar[str] = "flatten"
    keras_layer: ClassVar[str | None] = "Flatten"
    aliases: ClassVar[str] = "flat ravel"
    stacking: ClassVar[Stacking] = "rows"

    def output_shape(self, shape: Shape) -> Shape:
        return (prod(shape),)

    def activations(self, shape: Shape) -> int:
        return 0


class Reshape(LayerKind):
    """Reshapes each sample."""

    kind: ClassVar[str] = "reshape"
    keras_layer: ClassVar[str | None] = "Reshape"
    shorthand: ClassVar[str | None] = "shape"
    stacking: ClassVar[Stacking] = "rows"

    shape: Annotated[list[int], Field(min_length=1, max_length=8)]
    """New shape of a sample; one axis may be -1."""

    def keras_arguments(self) -> dict[str, Any]:
        return {"target_shape": tuple(self.shape)}

    def conflicts(self, key: str) -> Iterator[Conflict]:
        if self.shape.count(-1) > 1 or any(size < 1 and size != -1 for size in self.shape):
            expected = "sizes of at least 1, one of which may be -1"
            yield conflict(key, expected, str(self.shape), "write, for example, [8, -1]")

    def output_shape(self, shape: Shape) -> Shape:
        size, known = prod(shape), prod(axis for axis in self.shape if axis != -1)
        if size % known if -1 in self.shape else size != known:
            raise ShapeError(
                expected=f"a shape with {size} elements, as the previous layer outputs "
                f"{shape_text(shape)}",
                found=shape_text(self.shape),
                fix=f"choose axes whose product is {size}; one of them can be -1",
                setting="shape",
            )
        return tuple(size // known if axis == -1 else axis for axis in self.shape)

    def activations(self, shape: Shape) -> int:
        return 0


class ZeroPadding2D(LayerKind):
    """Adds zeros around an image."""

    kind: ClassVar[str] = "zero_padding2d"
    keras_layer: ClassVar[str | None] = "ZeroPadding2D"
    shorthand: ClassVar[str | None] = "padding"
    aliases: ClassVar[str] = "zero_padding zero_pad zeropad2d pad pad2d"
    stacking: ClassVar[Stacking] = "rows"

    padding: _Margin | Annotated[list[_Margin], Field(min_length=2, max_length=4)] = 1
    """Rows and columns of zeros: one number on each side, or [above and below, left and right], or
    [above, below, left, right]."""

    @property
    def margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(above, below), (left, right)."""
        match self.padding:
            case int(size):
                return (size, size), (size, size)
            case [height, width]:
                return (height, height), (width, width)
            case sizes:
                above, below, left, right = sizes
                return (above, below), (left, right)

    def keras_arguments(self) -> dict[str, Any]:
        return {"padding": self.margins}

    def conflicts(self, key: str) -> Iterator[Conflict]:
        if isinstance(self.padding, list) and len(self.padding) == 3:
            expected = "1, 2 or 4 numbers"
            fix = "write, for example, [1, 1], or [0, 1, 0, 1] for above, below, left, right"
            yield conflict(f"{key}.padding", expected, str(self.padding), fix)

    def output_shape(self, shape: Shape) -> Shape:
        require_axes(shape, self.kind, 2)
        sizes = (size + sum(margin) for size, margin in zip(shape[:2], self.margins, strict=True))
        return (*sizes, shape[-1])


class UpSampling2D(LayerKind):
    """Enlarges an image."""

    kind: ClassVar[str] = "up_sampling2d"
    keras_layer: ClassVar[str | None] = "UpSampling2D"
    shorthand: ClassVar[str | None] = "size"
    aliases: ClassVar[str] = "up_sampling upsample upsample2d resize"
    stacking: ClassVar[Stacking] = "rows"

    size: Extents = 2
    """Factor of height and width: one number for both, or [height, width]."""
    interpolation: Literal["nearest", "bilinear"] = "nearest"
    """nearest: repeats each value. bilinear: interpolates between values."""

    def output_shape(self, shape: Shape) -> Shape:
        require_axes(shape, self.kind, 2)
        factors = per_axis(self.size, 2)
        sizes = (size * factor for size, factor in zip(shape[:2], factors, strict=True))
        return (*sizes, shape[-1])


class Rescaling(LayerKind):
    """Multiplies its inputs by a number and adds another."""

    kind: ClassVar[str] = "rescaling"
    keeps_positions: ClassVar[bool] = True
    keras_layer: ClassVar[str | None] = "Rescaling"
    shorthand: ClassVar[str | None] = "scale"
    aliases: ClassVar[str] = "rescale"
    stacking: ClassVar[Stacking] = "rows"

    scale: float
    """The factor."""
    offset: float = 0.0
    """Added after the multiplication."""


KINDS: tuple[type[LayerKind], ...] = (ZeroPadding2D, UpSampling2D, Rescaling, Flatten, Reshape)
"""The kinds in this module."""
