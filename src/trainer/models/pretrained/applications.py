"""The shapes of the weights of networks in Keras Applications, by layer, without Keras.

Convolutions have a kernel, and a bias where there is no normalization after them; a batch normalization
has four vectors. Output layers are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

Shape = tuple[int, ...]
Layer = tuple[str, list[Shape]]

# Channels and repeats of each stage of MobileNetV2 (Sandler et al., 2018).
_MOBILE_STAGES = ((16, 1), (24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1))
_MOBILE_STEM, _MOBILE_TOP, _MOBILE_EXPANSION = 32, 1280, 6
# Channels and repeats of each stage of ResNet50V2 (He et al., 2016).
_RESNET_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
_RESNET_STEM = 64
_COLORS = 3


def application_shapes(application: str) -> dict[str, list[Shape]]:
    """Return name of each layer with weights → shapes of its weights.

    Args:
        application: The name in `keras.applications`: MobileNetV2 or ResNet50V2.
    """
    layers = {"MobileNetV2": _mobilenet_v2, "ResNet50V2": _resnet50_v2}
    return dict(layers[application]())


def _norm(name: str, channels: int) -> Layer:
    return name, [(channels,)] * 4


def _conv(name: str, size: int, inputs: int, outputs: int, *, bias: bool = False) -> Layer:
    return name, [(size, size, inputs, outputs), *([(outputs,)] if bias else [])]


def _mobilenet_v2() -> Iterator[Layer]:
    yield _conv("Conv1", 3, _COLORS, _MOBILE_STEM)
    yield _norm("bn_Conv1", _MOBILE_STEM)
    inputs, number = _MOBILE_STEM, 0
    for outputs, repeats in _MOBILE_STAGES:
        for _ in range(repeats):
            name = f"block_{number}" if number else "expanded_conv"
            expanded = inputs
            if number:
                expanded *= _MOBILE_EXPANSION
                yield _conv(f"{name}_expand", 1, inputs, expanded)
                yield _norm(f"{name}_expand_BN", expanded)
            yield f"{name}_depthwise", [(3, 3, expanded, 1)]
            yield _norm(f"{name}_depthwise_BN", expanded)
            yield _conv(f"{name}_project", 1, expanded, outputs)
            yield _norm(f"{name}_project_BN", outputs)
            inputs, number = outputs, number + 1
    yield _conv("Conv_1", 1, inputs, _MOBILE_TOP)
    yield _norm("Conv_1_bn", _MOBILE_TOP)


def _resnet50_v2() -> Iterator[Layer]:
    yield _conv("conv1_conv", 7, _COLORS, _RESNET_STEM, bias=True)
    inputs = _RESNET_STEM
    for stage, (channels, repeats) in enumerate(_RESNET_STAGES, 2):
        outputs = 4 * channels
        for block in range(1, repeats + 1):
            name = f"conv{stage}_block{block}"
            yield _norm(f"{name}_preact_bn", inputs)
            if block == 1:
                yield _conv(f"{name}_0_conv", 1, inputs, outputs, bias=True)
            yield _conv(f"{name}_1_conv", 1, inputs, channels)
            yield _norm(f"{name}_1_bn", channels)
            yield _conv(f"{name}_2_conv", 3, channels, channels)
            yield _norm(f"{name}_2_bn", channels)
            yield _conv(f"{name}_3_conv", 1, channels, outputs, bias=True)
            inputs = outputs
    yield _norm("post_bn", inputs)
