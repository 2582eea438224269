"""Networks for folders of JPEG files, and the folders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("a", "b")
VALIDATION = 0.2
FILE_SHAPE = (120, 160)


@dataclass(frozen=True, slots=True)
class ImageWorkload:
    """A network and the images that it is trained on.

    Attributes:
        title: What it is.
        side: Height and width of the input, in color.
        layers: Hidden layers: ("conv", filters), 3 × 3 with ReLU; ("pool",), 2 × 2; ("average",), of all
            positions; ("flatten",); ("dense", units) with ReLU; ("residual", filters, stride).
        batch: Rows per step.
        optimizer: "adam" (0.001) or "sgd" (0.001, momentum 0.9).
        images: Number of files.
        epochs: Number of epochs.
    """

    title: str
    side: int
    layers: tuple[tuple[Any, ...], ...]
    batch: int = 32
    optimizer: str = "adam"
    images: int = 2_000
    epochs: int = 10

    @property
    def steps(self) -> int:
        """Training steps of an epoch."""
        return -(-round(self.images * (1 - VALIDATION)) // self.batch)

    def shortened(self) -> ImageWorkload:
        """Return a small version, to check that everything works."""
        return replace(self, images=4 * self.batch, epochs=2)


THREE = (("conv", 32), ("pool",), ("conv", 64), ("pool",), ("conv", 128), ("average",))
WORKLOADS = {
    "three_28": ImageWorkload("three convolutions, 28 × 28", 28, THREE),
    "three_64": ImageWorkload("three convolutions, 64 × 64", 64, THREE),
    "residual_32": ImageWorkload(
        "a convolution and three residual blocks, 32 × 32",
        32,
        (("conv", 16), ("residual", 16, 1), ("residual", 32, 2), ("residual", 64, 2), ("average",)),
    ),
    "convolution_b": ImageWorkload(
        "the layers of configs/convolution_b.yaml, 56 × 56",
        56,
        (("conv", 64), ("pool",), ("flatten",), ("dense", 1024)),
        batch=4,
        optimizer="sgd",
        images=200,
    ),
}


def write_folder(folder: Path, images: int) -> None:
    """Write JPEG files of smooth noise in a subfolder for each class; the classes differ in color."""
    rng = np.random.default_rng(0)
    height, width = FILE_SHAPE
    for number in range(images):
        name = CLASSES[number % len(CLASSES)]
        colors = rng.uniform(0, 255, (8, 8, 3))
        colors[..., 0] *= 0.6 if name == "a" else 1.0
        coarse = Image.fromarray(colors.astype(np.uint8))
        grain = rng.normal(0, 6, (height, width, 1))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) + grain
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth.clip(0, 255).astype(np.uint8)).save(
            folder / name / f"{number:05d}.jpg", quality=90
        )


def config_of(workload: ImageWorkload, folder: Path) -> dict[str, Any]:
    """Return the config for trainer."""
    optimizer: dict[str, Any] = {"name": workload.optimizer, "learning_rate": 0.001}
    if workload.optimizer == "sgd":
        optimizer["momentum"] = 0.9
    return {
        "name": "images",
        "data": {
            "source": str(folder),
            "image": {"size": workload.side},
            "split": {"test": 0.0, "validation": VALIDATION},
        },
        "model": {"layers": [_layer(*layer) for layer in workload.layers]},
        "optimizer": optimizer,
        "metrics": ["accuracy"],
        "fit": {"epochs": workload.epochs, "batch_size": workload.batch},
    }


def _layer(kind: str, *arguments: Any) -> Any:
    match kind:
        case "conv":
            return _convolution(*arguments, activation="relu")
        case "pool":
            return {"max_pool2d": 2}
        case "average":
            return "global_average_pool"
        case "dense":
            return {"dense": {"units": arguments[0], "activation": "relu"}}
        case "residual":
            filters, strides = arguments
            first = [_convolution(filters, strides=strides), "batch_normalization"]
            block = [*first, {"activation": "relu"}, _convolution(filters), "batch_normalization"]
            return {"residual": {"layers": block}}
        case _:
            return kind


def _convolution(filters: int, **settings: Any) -> dict[str, Any]:
    return {"conv2d": {"filters": filters, "kernel_size": 3, "padding": "same", **settings}}
