"""Pooling of sequences and images."""

from __future__ import annotations

from typing import ClassVar

from trainer.config.layers.base import LayerKind, Shape, Stacking
from trainer.config.layers.settings import Extent, Extents, Padding
from trainer.config.layers.windows import output_sizes, per_axis, require_axes


class Pooling(LayerKind):
    """Base of the layers that pool the values within a window."""

    axes: ClassVar[int] = 2
    shorthand: ClassVar[str | None] = "pool_size"
    stacking: ClassVar[Stacking] = "rows"

    pool_size: Extents = 2
    """Height and width of the window: one number for both, or [height, width]."""
    strides: Extents | None = None
    """Stride of the window; if unset, its size."""
    padding: Padding = "valid"
    """same: windows that extend beyond the input are pooled too. valid: they are omitted."""

    def output_shape(self, shape: Shape) -> Shape:
        require_axes(shape, self.kind, self.axes)
        window = per_axis(self.pool_size, self.axes)
        strides = window if self.strides is None else per_axis(self.strides, self.axes)
        return (
            *output_sizes(shape[:-1], window, strides, self.padding, "pool_size"),
            shape[-1],
        )


class _Pooling1D(Pooling):
    axes: ClassVar[int] = 1

    pool_size: Extent = 2
    """Number of steps of the window."""
    strides: Extent | None = None
    """Stride of the window; if unset, its size."""


class MaxPool1D(_Pooling1D):
    """Maximum of each channel within a window of a sequence."""

    kind: ClassVar[str] = "max_pool1d"
    keras_layer: ClassVar[str | None] = "MaxPooling1D"
    aliases: ClassVar[str] = "max_pooling1d"


class MaxPool2D(Pooling):
    """Maximum of each channel within a window of an image."""

    kind: ClassVar[str] = "max_pool2d"
    keras_layer: ClassVar[str | None] = "MaxPooling2D"
    aliases: ClassVar[str] = "max_pool max_pooling max_pooling2d pool pool2d"


class AveragePool1D(_Pooling1D):
    """Mean of each channel within a window of a sequence."""

    kind: ClassVar[str] = "average_pool1d"
    keras_layer: ClassVar[str | None] = "AveragePooling1D"
    aliases: ClassVar[str] = "average_pooling1d avg_pool1d avg_pooling1d mean_pool1d"


class AveragePool2D(Pooling):
    """Mean of each channel within a window of an image."""

    kind: ClassVar[str] = "average_pool2d"
    keras_layer: ClassVar[str | None] = "AveragePooling2D"
    aliases: ClassVar[str] = (
        "average_pooling2d avg_pool2d avg_pooling2d avg_pool average_pool mean_pool"
    )


class _GlobalPooling(LayerKind):
    """Base of the layers that pool all positions."""

    stacking: ClassVar[Stacking] = "rows"
    needs_shape: ClassVar[bool] = True

    def keras_class(self, shape: Shape | None) -> str:
        assert shape is not None, "the number of axes determines the Keras layer"
        return f"{self.keras_layer}{len(shape) - 1}D"

    def output_shape(self, shape: Shape) -> Shape:
        require_axes(shape, self.kind, 1, 2)
        return shape[-1:]


class GlobalMaxPool(_GlobalPooling):
    """Maximum of each channel over all positions of an image or a sequence."""

    kind: ClassVar[str] = "global_max_pool"
    keras_layer: ClassVar[str | None] = "GlobalMaxPooling"
    aliases: ClassVar[str] = (
        "global_max_pooling global_max_pool2d global_max_pooling2d global_max_pooling1d "
        "adaptive_max_pool2d"
    )


class GlobalAveragePool(_GlobalPooling):
    """Mean of each channel over all positions of an image or a sequence."""

    kind: ClassVar[str] = "global_average_pool"
    keras_layer: ClassVar[str | None] = "GlobalAveragePooling"
    aliases: ClassVar[str] = (
        "gap global_pool global_avg_pool global_average_pooling global_average_pool2d "
        "global_average_pooling2d global_average_pooling1d adaptive_avg_pool2d"
    )


KINDS: tuple[type[LayerKind], ...] = (
    MaxPool1D,
    MaxPool2D,
    AveragePool1D,
    AveragePool2D,
    GlobalMaxPool,
    GlobalAveragePool,
)
"""The kinds in this module."""
