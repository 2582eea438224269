"""EfficientNet-Lite in Keras (`trainer.models.pretrained.lite_layout`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from numpy.typing import NDArray

from trainer.models.pretrained.architectures import LiteScale
from trainer.models.pretrained.lite_layout import STEM, TOP, lite_blocks, lite_weights


def build_efficientnet_lite(scale: LiteScale, shape: tuple[int, ...]) -> keras.Model:
    """Return the network without its output layer, with random weights; its output has three axes."""
    layers = keras.layers
    start = keras.Input(shape, name="pretrained_input")

    def normalized(x: Any, name: str, *, activation: bool = True) -> Any:
        x = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{name}_norm")(x)
        return layers.ReLU(6.0, name=f"{name}_relu")(x) if activation else x

    def convolved(x: Any, channels: int, size: int, strides: int, name: str) -> Any:
        return layers.Conv2D(channels, size, strides, "same", use_bias=False, name=f"{name}_conv")(
            x
        )

    x = normalized(convolved(start, STEM, 3, 2, "stem"), "stem")
    for block in lite_blocks(scale):
        before, name = x, block.name
        if block.expansion != 1:
            expand = f"{name}_expand"
            x = normalized(convolved(x, block.expanded, 1, 1, expand), expand)
        depthwise = layers.DepthwiseConv2D(
            block.size, block.strides, "same", use_bias=False, name=f"{name}_depthwise_conv"
        )
        x = normalized(depthwise(x), f"{name}_depthwise")
        project = f"{name}_project"
        x = normalized(convolved(x, block.outputs, 1, 1, project), project, activation=False)
        if block.strides == 1 and block.inputs == block.outputs:
            x = layers.Add(name=f"{name}_add")([before, x])
    x = normalized(convolved(x, TOP, 1, 1, "top"), "top")
    return keras.Model(start, x, name="efficientnet_lite")


def fill_efficientnet_lite(
    network: keras.Model, scale: LiteScale, arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Set the weights from the arrays of a PyTorch model.

    Raises:
        WeightsError: Arrays are missing, left over, or of other shapes.
    """
    for name, values in lite_weights(scale, arrays).items():
        network.get_layer(name).set_weights(values)
