"""Windows that slide over a sequence or an image: the shapes they accept and their output sizes."""

from __future__ import annotations

from trainer.config.layers.base import Shape, ShapeError, shape_text
from trainer.config.layers.settings import Padding

_INPUTS = {1: ("a sequence", "[steps, channels]"), 2: ("an image", "[height, width, channels]")}


def per_axis(value: int | list[int], axes: int) -> Shape:
    """Return a size for each axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value)


def require_axes(shape: Shape, kind: str, *axes: int) -> None:
    """Raise `ShapeError` unless a sample has one of these numbers of axes, besides its channels."""
    found = len(shape) - 1
    if found in axes:
        return
    fix = f"put {kind} before the layer that flattens the samples"
    if found in _INPUTS:
        fix = f"use the layer for {_INPUTS[found][0]}, whose name ends in {found}d"
    raise ShapeError(
        expected=f"{' or '.join(' '.join(_INPUTS[number]) for number in axes)} before {kind}",
        found=f"samples of shape {shape_text(shape)}",
        fix=f"{fix}, or add `- reshape: {_INPUTS[axes[-1]][1]}` before it",
    )


def output_sizes(
    sizes: Shape, window: Shape, strides: Shape, padding: Padding, setting: str
) -> Shape:
    """Return the number of positions of a window along each axis.

    Args:
        sizes: Size of the input along each axis.
        window: Size of the window, with dilation.
        strides: Step between positions.
        padding: same: the input is padded so that every stride has a position.
        setting: The setting of the window, for the error.

    Raises:
        ShapeError: The window is larger than the input.
    """
    if padding == "same":
        return tuple(-(-size // stride) for size, stride in zip(sizes, strides, strict=True))
    if any(extent > size for size, extent in zip(sizes, window, strict=True)):
        raise ShapeError(
            expected=f"a window within the {' × '.join(map(str, sizes))} positions that the previous "
            "layer outputs",
            found=" × ".join(map(str, window)),
            fix=f"lower {setting}, set padding: same, or downsample the input less before it",
            setting=setting,
        )
    return tuple(
        (size - extent) // stride + 1
        for size, extent, stride in zip(sizes, window, strides, strict=True)
    )
