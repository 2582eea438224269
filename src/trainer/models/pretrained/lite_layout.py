"""The layers of EfficientNet-Lite and the weights of each in a file of PyTorch, without Keras.

EfficientNet without squeeze-and-excitation, with relu6 (Tan and Le, EfficientNet: Rethinking model
scaling for convolutional neural networks, 2019, and the authors' Lite variants).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.models.pretrained.architectures import LiteScale
from trainer.models.pretrained.weights_error import WeightsError

STEM, TOP = 32, 1280
"""Channels of the first and of the last convolution."""

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
_COLORS = 3
_STEM_SIZE = 3
_NORM = ("weight", "bias", "running_mean", "running_var")
_UNUSED = ("_fc.", "classifier.")

# Keras layer → module, in the names of `efficientnet_lite_pytorch` and of timm.
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

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LiteBlock:
    """An inverted residual block.

    Attributes:
        name: Prefix of the names of its layers.
        size: Kernel size of its depthwise convolution.
        strides: Strides of that convolution.
        expansion: Channels of that convolution, divided by those of the input.
        inputs: Channels of its input.
        outputs: Channels of its output.
    """

    name: str
    size: int
    strides: int
    expansion: int
    inputs: int
    outputs: int

    @property
    def expanded(self) -> int:
        """Channels of the depthwise convolution."""
        return self.inputs * self.expansion


@dataclass(frozen=True, slots=True)
class LiteModule:
    """A layer with weights, and the module of PyTorch with the same weights.

    Attributes:
        layer: Name of the Keras layer.
        name: Name of the module.
        shape: Shape of the kernel in PyTorch, or of each of the four arrays of a normalization.
    """

    layer: str
    name: str
    shape: Shape

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of its arrays."""
        return _NORM if self.layer.endswith("_norm") else ("weight",)


def lite_blocks(scale: LiteScale) -> Iterator[LiteBlock]:
    """Yield the blocks, in order."""
    last = len(_STAGES) - 1
    before = STEM
    for stage, (repeats, size, strides, expansion, channels) in enumerate(_STAGES):
        # The first and the last stage are not repeated more often.
        count = repeats if stage in (0, last) else math.ceil(repeats * scale.depth)
        outputs = _rounded(channels, scale)
        for block in range(count):
            name = f"stage{stage}_block{block}"
            first = strides if block == 0 else 1
            yield LiteBlock(name, size, first, expansion, before, outputs)
            before = outputs


def _rounded(channels: int, scale: LiteScale) -> int:
    """Return a scaled number of channels, a multiple of 8 that is at most a tenth smaller."""
    scaled = channels * scale.width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8


def lite_modules(scale: LiteScale, *, timm: bool) -> Iterator[LiteModule]:
    """Yield the layers with weights, with the names of `efficientnet_lite_pytorch` or of timm."""
    outer = _TIMM_MODULES if timm else _MODULES
    blocks = list(lite_blocks(scale))
    yield LiteModule("stem_conv", outer["stem_conv"], (STEM, _COLORS, _STEM_SIZE, _STEM_SIZE))
    yield LiteModule("stem_norm", outer["stem_norm"], (STEM,))
    yield LiteModule("top_conv", outer["top_conv"], (TOP, blocks[-1].outputs, 1, 1))
    yield LiteModule("top_norm", outer["top_norm"], (TOP,))
    for index, block in enumerate(blocks):
        modules = _TIMM_FIRST if timm and block.expansion == 1 else outer
        stage, number = block.name.removeprefix("stage").split("_block")
        prefix = f"blocks.{stage}.{number}" if timm else f"_blocks.{index}"
        for part, shape in _block_kernels(block).items():
            for kind, expected in (("conv", shape), ("norm", shape[:1])):
                name = f"{part}_{kind}"
                yield LiteModule(f"{block.name}_{name}", f"{prefix}.{modules[name]}", expected)


def _block_kernels(block: LiteBlock) -> dict[str, Shape]:
    kernels: dict[str, Shape] = {
        "expand": (block.expanded, block.inputs, 1, 1),
        "depthwise": (block.expanded, 1, block.size, block.size),
        "project": (block.outputs, block.expanded, 1, 1),
    }
    if block.expansion == 1:
        del kernels["expand"]
    return kernels


def lite_weights(
    scale: LiteScale, arrays: Mapping[str, NDArray[Any]]
) -> dict[str, list[NDArray[Any]]]:
    """Return the weights of each Keras layer, with Keras's axes, from the arrays of a PyTorch model.

    Raises:
        WeightsError: Arrays are missing, left over, or of other shapes.
    """
    left = {
        name: array
        for name, array in arrays.items()
        if not name.endswith("num_batches_tracked") and not name.startswith(_UNUSED)
    }
    weights = {}
    for module in lite_modules(scale, timm="conv_stem.weight" in arrays):
        names = [f"{module.name}.{part}" for part in module.parts]
        missing = next((name for name in names if name not in left), "")
        if missing:
            raise WeightsError(f"none named '{missing}'", expected="weights of EfficientNet-Lite")
        values = [left.pop(name) for name in names]
        for value in values:
            if value.shape != module.shape:
                found = f"shape {value.shape} of '{module.name}'"
                raise WeightsError(found, expected=f"shape {module.shape}")
        if len(module.shape) > 1:
            axes = (2, 3, 0, 1) if "depthwise" in module.layer else (2, 3, 1, 0)
            values = [values[0].transpose(axes)]
        weights[module.layer] = [np.asarray(value, np.float32) for value in values]
    if left:
        raise WeightsError(f"'{next(iter(left))}'", expected="weights of EfficientNet-Lite alone")
    return weights
