"""Folders of images for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def make_images(
    folder: Path, labels: Sequence[str] = ("cat", "dog"), count: int = 10, size: int = 12
) -> Path:
    """Write random images, with one color per label, as PNG and JPEG in turn."""
    generator = np.random.default_rng(3)
    for number, label in enumerate(labels):
        (folder / label).mkdir(parents=True)
        for index in range(count):
            pixels = generator.integers(0, 80, (size, size + 4, 3)).astype(np.uint8)
            pixels[..., number % 3] += 120
            suffix = "jpg" if index % 2 else "png"
            Image.fromarray(pixels).save(folder / label / f"{index}.{suffix}")
    return folder
