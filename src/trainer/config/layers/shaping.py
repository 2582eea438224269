"""Layers without weights that change the shape or the scale of their inputs."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Annotated, Any, ClassVar

from pydantic import Field

from trainer.config.conflict import Conflict, conflict
from trainer.config.layers.base import LayerKind, Shape, ShapeError, Stacking, shape_text


class Flatten(LayerKind):
    """Flattens each sample to one axis."""

    kind: ClassVar[str] = "flatten"
    keras_layer: ClassVar[str | None] = "Flatten"
    stacking: ClassVar[Stacking] = "rows"

    def output_shape(self, shape: Shape) -> Shape:
        return (prod(shape),)


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
