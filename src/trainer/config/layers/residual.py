"""Layers with a shortcut around them."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from trainer.config.conflict import Conflict
from trainer.config.kinds import entry_union
from trainer.config.layers.base import LayerEntry, LayerKind, Shape, ShapeError, shape_text
from trainer.config.layers.convolution import (
    Conv1D,
    Conv2D,
    Conv2DTranspose,
    DepthwiseConv2D,
    SeparableConv2D,
)
from trainer.config.layers.dense import ActivationSettings, Dense
from trainer.config.layers.noise import Dropout, GaussianNoise, SpatialDropout
from trainer.config.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
)
from trainer.config.layers.pooling import AveragePool2D, MaxPool2D
from trainer.config.layers.settings import Activation
from trainer.config.layers.shaping import ZeroPadding2D

if TYPE_CHECKING:
    BlockLayer = LayerEntry
else:
    BlockLayer = entry_union(
        (
            Dense,
            ActivationSettings,
            Dropout,
            SpatialDropout,
            GaussianNoise,
            BatchNormalization,
            LayerNormalization,
            GroupNormalization,
            Conv1D,
            Conv2D,
            DepthwiseConv2D,
            SeparableConv2D,
            Conv2DTranspose,
            MaxPool2D,
            AveragePool2D,
            ZeroPadding2D,
        ),
        LayerEntry,
    )


class Residual(LayerKind):
    """Layers whose output is added to their input, as in ResNet.

    If the shapes differ, the input is projected to the output's: by a convolution with a kernel of 1,
    or by a dense layer, without bias.
    """

    kind: ClassVar[str] = "residual"
    aliases: ClassVar[str] = "residual_block resnet resnet_block skip shortcut skip_connection"
    needs_shape: ClassVar[bool] = True

    layers: Annotated[list[BlockLayer], Field(min_length=1)]
    """The layers that the shortcut goes around."""
    activation: Activation = "linear"
    """The activation function of the sum."""
    normalize_shortcut: bool = False
    """Whether to apply batch normalization to the projected input."""

    @property
    def block(self) -> list[LayerKind]:
        """Settings of the layers that the shortcut goes around."""
        return [layer.settings for layer in self.layers]

    @property
    def convolutional(self) -> bool:
        return any(layer.convolutional for layer in self.block)

    def conflicts(self, key: str) -> Iterator[Conflict]:
        for index, layer in enumerate(self.block):
            yield from layer.conflicts(f"{key}.layers.{index}.{layer.kind}")

    def shapes(self, shape: Shape) -> tuple[Shape, ...]:
        """Return the input shape of each layer, then the output shape of the last one."""
        shapes = [shape]
        for index, layer in enumerate(self.block):
            try:
                output = layer.output_shape(shapes[-1])
            except ShapeError as error:
                setting = ".".join(
                    part for part in (f"layers.{index}.{layer.kind}", error.setting) if part
                )
                raise ShapeError(error.expected, error.found, error.fix, setting) from error
            assert output is not None, "the shapes of layers in a block are known"
            shapes.append(output)
        return tuple(shapes)

    def strides(self, shape: Shape) -> Shape | None:
        """Return the strides of the projection of the input; None if the shapes are equal.

        Raises:
            ShapeError: No projection has the shape of the output.
        """
        output = self.shapes(shape)[-1]
        if output == shape:
            return None
        strides = tuple(-(-size // new) for size, new in zip(shape[:-1], output[:-1], strict=False))
        projected = tuple(
            -(-size // stride) for size, stride in zip(shape[:-1], strides, strict=False)
        )
        if len(output) != len(shape) or projected != output[:-1]:
            raise ShapeError(
                expected=f"an output with the size of the input {shape_text(shape)}, divided by whole "
                "numbers, as the two are added",
                found=shape_text(output),
                fix="set padding: same in the layers of the block, and downsample by strides or pooling",
                setting="layers",
            )
        return strides

    def output_shape(self, shape: Shape) -> Shape:
        self.strides(shape)
        return self.shapes(shape)[-1]

    def projection(self, shape: Shape) -> Shape | None:
        """Return the shape of the projection's kernel; None without a projection."""
        strides = self.strides(shape)
        return None if strides is None else (*(1,) * len(strides), shape[-1], self._channels(shape))

    def trainable_shapes(self, shape: Shape) -> tuple[Shape, ...]:
        shapes = [
            weight
            for layer, before in self._layers(shape)
            for weight in layer.trainable_shapes(before) or ()
        ]
        kernel = self.projection(shape)
        if kernel is not None:
            shapes += [kernel, *((kernel[-1:],) * 2 if self.normalize_shortcut else ())]
        return tuple(shapes)

    def non_trainable(self, shape: Shape) -> int:
        moving = sum(layer.non_trainable(before) for layer, before in self._layers(shape))
        normalized = self.normalize_shortcut and self.projection(shape) is not None
        return moving + 2 * self._channels(shape) * normalized

    def multiplications(self, shape: Shape) -> int:
        kernel = self.projection(shape)
        positions = prod(self.shapes(shape)[-1][:-1])
        inner = sum(layer.multiplications(before) for layer, before in self._layers(shape))
        return inner + (0 if kernel is None else prod(kernel) * positions)

    def activations(self, shape: Shape) -> int:
        inner = sum(layer.activations(before) for layer, before in self._layers(shape))
        # The projection, its normalization, the sum and its activation.
        projected = 0 if self.projection(shape) is None else 1 + self.normalize_shortcut
        outputs = projected + 1 + (self.activation != "linear")
        return inner + outputs * prod(self.shapes(shape)[-1])

    def _layers(self, shape: Shape) -> Iterator[tuple[LayerKind, Shape]]:
        """Yield each layer and its input shape."""
        yield from zip(self.block, self.shapes(shape), strict=False)

    def _channels(self, shape: Shape) -> int:
        return self.shapes(shape)[-1][-1]


KINDS: tuple[type[LayerKind], ...] = (Residual,)
"""The kinds in this module."""
