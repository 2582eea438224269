"""Networks that have names: what is known of them without Keras.

Numbers of weights and multiplications are those without the output layer.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.inputs import ImageScaling

_CENTERED = ImageScaling((1 / 127.5,), (-1.0,))
_LITE = ImageScaling((1 / 128,), (-127 / 128,))
_REFERENCE_AREA = 224 * 224


@dataclass(frozen=True, slots=True)
class LiteScale:
    """An EfficientNet-Lite is a Lite0 with scaled numbers of channels and layers."""

    width: float
    depth: float


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network for images.

    Attributes:
        channels: Channels of its output.
        parameters: Number of weights.
        multiplications: Multiplications for an image of 224×224.
        activations: Values of all layers for an image of 224×224.
        scaling: How it scales the values of images.
        application: Its name in `keras.applications`; None if it is built here.
        lite: The scale of an EfficientNet-Lite.
    """

    channels: int
    parameters: int
    multiplications: int
    activations: int
    scaling: ImageScaling
    application: str | None = None
    lite: LiteScale | None = None

    def scaled(self, count: int, height: int, width: int) -> int:
        """Return a count for an image of 224×224 for one of another size."""
        return count * height * width // _REFERENCE_AREA


ARCHITECTURES: dict[str, Architecture] = {
    "efficientnet_lite0": Architecture(
        1280, 3_413_024, 390_000_000, 15_000_000, _LITE, lite=LiteScale(1.0, 1.0)
    ),
    "efficientnet_lite1": Architecture(
        1280, 4_189_344, 530_000_000, 20_000_000, _LITE, lite=LiteScale(1.0, 1.1)
    ),
    "efficientnet_lite2": Architecture(
        1280, 4_869_168, 640_000_000, 22_000_000, _LITE, lite=LiteScale(1.1, 1.2)
    ),
    "mobilenet_v2": Architecture(
        1280, 2_257_984, 300_000_000, 20_000_000, _CENTERED, "MobileNetV2"
    ),
    "resnet50_v2": Architecture(
        2048, 23_564_800, 3_500_000_000, 30_000_000, _CENTERED, "ResNet50V2"
    ),
}  # fmt: skip
