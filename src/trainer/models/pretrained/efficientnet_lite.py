"""EfficientNet-Lite in Keras, and its weights from PyTorch.

EfficientNet without squeeze-and-excitation, with relu6 (Tan and Le, EfficientNet: Rethinking model
scaling for convolutional neural networks, 2019, and the authors' Lite variants).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.models.pretrained.architectures import LiteScale
from trainer.models.pretrained.weights_error import WeightsError

# Repeats, kernel size, strides, expansion and channels of each stage.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _TOP = 32, 1280
_NORM = ("weight", "bias", "running_mean", "running_var")
_UNUSED = ("_fc.", "classifier.")

# Keras layer → module, in the names of `efficientnet_lite_pytorch` and of timm; {i} counts all blocks.
_MODULES = {
    "stem_conv": "_conv_stem", "stem_norm": "_bn0", "top_conv": "_conv_head", "top_norm": "_bn1",
    "expand_conv": "_expand_conv", "expand_norm": "_bn0", "depthwise_conv": "_depthwise_conv",
    "depthwise_norm": "_bn1", "project_conv": "_project_conv", "project_norm": "_bn2",
}  # fmt: skip
_TIMM_MODULES = {
    "stem_conv": "conv_stem", "stem_norm": "bn1", "top_conv": "conv_head", "top_norm": "bn2",
    "expand_conv": "conv_pw", "expand_norm": "bn1", "depthwise_conv": "conv_dw",
    "depthwise_norm": "bn2", "project_conv": "conv_pwl", "project_norm": "bn3",
}  # fmt: skip
# A block that does not expand has one module fewer.
_TIMM_FIRST = {
    "depthwise_conv": "conv_dw", "depthwise_norm": "bn1", "project_conv": "conv_pw",
    "project_norm": "bn2",
}  # fmt: skip


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

    x = normalized(convolved(start, _STEM, 3, 2, "stem"), "stem")
    channels = _STEM
    for name, size, strides, expansion, output in _blocks(scale):
        before = x
        if expansion != 1:
            expand = f"{name}_expand"
            x = normalized(convolved(x, channels * expansion, 1, 1, expand), expand)
        depthwise = layers.DepthwiseConv2D(
            size, strides, "same", use_bias=False, name=f"{name}_depthwise_conv"
        )
        x = normalized(depthwise(x), f"{name}_depthwise")
        project = f"{name}_project"
        x = normalized(convolved(x, output, 1, 1, project), project, activation=False)
        if strides == 1 and channels == output:
            x = layers.Add(name=f"{name}_add")([before, x])
        channels = output
    x = normalized(convolved(x, _TOP, 1, 1, "top"), "top")
    return keras.Model(start, x, name="efficientnet_lite")


def fill_efficientnet_lite(
    network: keras.Model, scale: LiteScale, arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Set the weights from the arrays of a PyTorch model.

    Raises:
        WeightsError: Arrays are missing, left over, or of other shapes.
    """
    left = {
        name: array
        for name, array in arrays.items()
        if not name.endswith("num_batches_tracked") and not name.startswith(_UNUSED)
    }
    for layer_name, module in _module_names(scale, timm="conv_stem.weight" in arrays):
        layer = network.get_layer(layer_name)
        parts = _NORM if layer_name.endswith("_norm") else ("weight",)
        missing = next((f"{module}.{part}" for part in parts if f"{module}.{part}" not in left), "")
        if missing:
            raise WeightsError(f"none named '{missing}'", expected="weights of EfficientNet-Lite")
        values = [left.pop(f"{module}.{part}") for part in parts]
        if layer_name.endswith("_conv") and values[0].ndim == 4:
            axes = (2, 3, 0, 1) if "depthwise" in layer_name else (2, 3, 1, 0)
            values = [values[0].transpose(axes)]
        for weight, value in zip(layer.weights, values, strict=True):
            if tuple(weight.shape) != value.shape:
                found = f"shape {value.shape} of '{module}'"
                raise WeightsError(found, expected=f"shape {tuple(weight.shape)}")
        layer.set_weights([np.asarray(value, np.float32) for value in values])
    if left:
        raise WeightsError(f"'{next(iter(left))}'", expected="weights of EfficientNet-Lite alone")


def _blocks(scale: LiteScale) -> Iterator[tuple[str, int, int, int, int]]:
    """Yield name, kernel size, strides, expansion and channels of each block."""
    last = len(_STAGES) - 1
    for stage, (repeats, size, strides, expansion, channels) in enumerate(_STAGES):
        # The first and the last stage are not repeated more often.
        count = repeats if stage in (0, last) else math.ceil(repeats * scale.depth)
        for block in range(count):
            name = f"stage{stage}_block{block}"
            yield name, size, strides if block == 0 else 1, expansion, _rounded(channels, scale)


def _rounded(channels: int, scale: LiteScale) -> int:
    """Return a scaled number of channels, a multiple of 8 that is at most a tenth smaller."""
    scaled = channels * scale.width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8


def _module_names(scale: LiteScale, *, timm: bool) -> Iterator[tuple[str, str]]:
    """Yield the name of each Keras layer with weights, and of its module."""
    outer = _TIMM_MODULES if timm else _MODULES
    for name in ("stem_conv", "stem_norm", "top_conv", "top_norm"):
        yield name, outer[name]
    for index, (name, _, _, expansion, _) in enumerate(_blocks(scale)):
        modules = _TIMM_FIRST if timm and expansion == 1 else outer
        stage, block = name.removeprefix("stage").split("_block")
        prefix = f"blocks.{stage}.{block}" if timm else f"_blocks.{index}"
        for part in ("expand", "depthwise", "project"):
            if part != "expand" or expansion != 1:
                for kind in ("conv", "norm"):
                    yield f"{name}_{part}_{kind}", f"{prefix}.{modules[f'{part}_{kind}']}"
