"""Convolutions of sequences and images."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Annotated, ClassVar

from pydantic import Field

from trainer.config.conflict import Conflict, conflict
from trainer.config.layers.base import LayerKind, Shape
from trainer.config.layers.settings import Activation, Extent, Extents, Padding, Size
from trainer.config.layers.weighted import weight_conflicts
from trainer.config.layers.windows import output_sizes, per_axis, require_axes
from trainer.config.weights import Initializer, Regularizer

Multiplier = Annotated[int, Field(ge=1, le=1000)]


class Convolution(LayerKind):
    """Base of the convolutions.

    Attributes:
        axes: Number of axes of the input, besides the channels.
    """

    axes: ClassVar[int] = 2

    kernel_size: Extents = 3
    """Height and width of the kernel: one number for both, or [height, width]."""
    strides: Extents = 1
    """Stride of the kernel: one number, or [vertical, horizontal]."""
    padding: Padding = "valid"
    """same: the input is padded with zeros, so that the output has its size, divided by the strides.
    valid: no padding."""
    activation: Activation = "linear"
    """The activation function."""
    use_bias: bool = True
    """Whether to add a bias to each channel."""
    bias_initializer: Initializer = "zeros"
    """Initializer of the bias."""
    bias_regularizer: Regularizer | None = None
    """Penalty on the bias."""
    activity_regularizer: Regularizer | None = None
    """Penalty on the layer's output."""

    def channels(self, shape: Shape) -> int:
        """Return the number of channels of the output."""
        raise NotImplementedError

    def kernels(self, shape: Shape) -> tuple[Shape, ...]:
        """Return the shapes of the kernels for an input shape."""
        raise NotImplementedError

    def positions(self, sizes: Shape) -> Shape:
        """Return the size of the output along each axis for that of the input."""
        dilation: int | list[int] = getattr(self, "dilation_rate", 1)
        window = tuple(
            step * (size - 1) + 1
            for size, step in zip(self.window, per_axis(dilation, self.axes), strict=True)
        )
        strides = per_axis(self.strides, self.axes)
        return output_sizes(sizes, window, strides, self.padding, "kernel_size")

    @property
    def convolutional(self) -> bool:
        return True

    @property
    def window(self) -> Shape:
        """Size of the kernel along each axis."""
        return per_axis(self.kernel_size, self.axes)

    def conflicts(self, key: str) -> Iterator[Conflict]:
        yield from weight_conflicts(self, key)
        dilation: int | list[int] = getattr(self, "dilation_rate", 1)
        if max(per_axis(dilation, 2)) > 1 and max(per_axis(self.strides, 2)) > 1:
            yield conflict(
                f"{key}.dilation_rate",
                "strides of 1 with a dilation rate above 1",
                f"strides: {self.strides}",
                "set one of the two to 1",
                f"{key}.strides",
            )

    def output_shape(self, shape: Shape) -> Shape:
        require_axes(shape, self.kind, self.axes)
        return (*self.positions(shape[:-1]), self.channels(shape))

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        return (*self.kernels(shape), *(((self.channels(shape),),) if self.use_bias else ()))

    def multiplications(self, shape: Shape) -> int:
        return sum(map(prod, self.kernels(shape))) * prod(self.positions(shape[:-1]))


class _Filters(Convolution):
    """Base of the convolutions with a kernel for each pair of channels."""

    filters: Size
    """Number of filters, the channels of the output."""
    kernel_initializer: Initializer = "glorot_uniform"
    """Initializer of the kernel."""
    kernel_regularizer: Regularizer | None = None
    """Penalty on the kernel."""

    def channels(self, shape: Shape) -> int:
        return self.filters

    def kernels(self, shape: Shape) -> tuple[Shape, ...]:
        return ((*self.window, shape[-1], self.filters),)


class Conv1D(_Filters):
    """Convolution of a sequence [steps, channels]."""

    kind: ClassVar[str] = "conv1d"
    keras_layer: ClassVar[str | None] = "Conv1D"
    shorthand: ClassVar[str | None] = "filters"
    aliases: ClassVar[str] = "conv_1d convolution1d"
    axes: ClassVar[int] = 1

    kernel_size: Extent = 3
    """Number of steps of the kernel."""
    strides: Extent = 1
    """Stride of the kernel."""
    dilation_rate: Extent = 1
    """Spacing of the kernel's inputs."""


class Conv2D(_Filters):
    """Convolution of an image [height, width, channels]."""

    kind: ClassVar[str] = "conv2d"
    keras_layer: ClassVar[str | None] = "Conv2D"
    shorthand: ClassVar[str | None] = "filters"
    aliases: ClassVar[str] = "conv conv_2d convolution convolution2d"

    dilation_rate: Extents = 1
    """Spacing of the kernel's inputs: one number, or [vertical, horizontal]."""


class Conv2DTranspose(_Filters):
    """Transposed convolution of an image, which enlarges it by the strides."""

    kind: ClassVar[str] = "conv2d_transpose"
    keras_layer: ClassVar[str | None] = "Conv2DTranspose"
    shorthand: ClassVar[str | None] = "filters"
    aliases: ClassVar[str] = (
        "deconvolution deconv conv_transpose conv_transpose2d transposed_conv2d"
    )

    padding: Padding = "valid"
    """same: the output has the size of the input, multiplied by the strides. valid: the size that a
    convolution with these settings would reduce to the input's."""

    def positions(self, sizes: Shape) -> Shape:
        strides = per_axis(self.strides, self.axes)
        margins = (
            (0,) * self.axes
            if self.padding == "same"
            else tuple(
                max(extent - stride, 0) for extent, stride in zip(self.window, strides, strict=True)
            )
        )
        return tuple(
            size * stride + margin
            for size, stride, margin in zip(sizes, strides, margins, strict=True)
        )

    def kernels(self, shape: Shape) -> tuple[Shape, ...]:
        return ((*self.window, self.filters, shape[-1]),)

    def multiplications(self, shape: Shape) -> int:
        return sum(map(prod, self.kernels(shape))) * prod(shape[:-1])


class _Depthwise(Convolution):
    """Base of the convolutions that first filter each channel separately."""

    # TensorFlow has no other depthwise convolutions.
    strides: Extent = 1
    """Stride of the kernel, the same in both directions."""
    dilation_rate: Extents = 1
    """Spacing of the kernel's inputs: one number, or [vertical, horizontal]."""
    depth_multiplier: Multiplier = 1
    """Number of filters for each input channel."""
    depthwise_initializer: Initializer = "glorot_uniform"
    """Initializer of the kernel of each channel."""
    depthwise_regularizer: Regularizer | None = None
    """Penalty on the kernel of each channel."""

    def channels(self, shape: Shape) -> int:
        return shape[-1] * self.depth_multiplier

    def kernels(self, shape: Shape) -> tuple[Shape, ...]:
        return ((*self.window, shape[-1], self.depth_multiplier),)


class DepthwiseConv2D(_Depthwise):
    """Convolution of each channel of an image separately."""

    kind: ClassVar[str] = "depthwise_conv2d"
    keras_layer: ClassVar[str | None] = "DepthwiseConv2D"
    shorthand: ClassVar[str | None] = "kernel_size"
    aliases: ClassVar[str] = "depthwise depthwise_conv depthwise_convolution"


class SeparableConv2D(_Depthwise):
    """Convolution of each channel of an image separately, then across the channels at each position."""

    kind: ClassVar[str] = "separable_conv2d"
    keras_layer: ClassVar[str | None] = "SeparableConv2D"
    shorthand: ClassVar[str | None] = "filters"
    aliases: ClassVar[str] = "separable separable_conv separable_convolution"

    filters: Size
    """Number of filters, the channels of the output."""
    pointwise_initializer: Initializer = "glorot_uniform"
    """Initializer of the kernel across channels."""
    pointwise_regularizer: Regularizer | None = None
    """Penalty on the kernel across channels."""

    def channels(self, shape: Shape) -> int:
        return self.filters

    def kernels(self, shape: Shape) -> tuple[Shape, ...]:
        between = shape[-1] * self.depth_multiplier
        return (*super().kernels(shape), (1, 1, between, self.filters))


KINDS: tuple[type[LayerKind], ...] = (
    Conv1D,
    Conv2D,
    DepthwiseConv2D,
    SeparableConv2D,
    Conv2DTranspose,
)
"""The kinds in this module."""
