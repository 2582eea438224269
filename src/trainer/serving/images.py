"""Images of requests: the content of a file → pixels, as `trainer predict` decodes files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.data.image_decoding import BrokenImageError, decode_image, read_header
from trainer.data.images import ImageColumn
from trainer.export.schema import InputField

_MAX_PIXELS = 40_000_000
"""Images of requests that declare more are refused: each would need hundreds of megabytes."""


def image_pixels(content: bytes, field: InputField) -> NDArray[np.uint8] | str:
    """Return the pixels of an image, uint8 (height, width, channels), or what is wrong with it."""
    geometry = ImageColumn.model_validate_json(_fitted(field)).geometry
    height, width, _ = field.shape
    # The decoder reads files, and must never open a path that a client sends.
    with tempfile.TemporaryDirectory(prefix="trainer-serve-") as folder:
        path = str(Path(folder) / "image")
        Path(path).write_bytes(content)
        try:
            header = read_header(path)
            if header.height * header.width > _MAX_PIXELS:
                return f"more than {_MAX_PIXELS // 1_000_000} million pixels"
            pixels = decode_image(path, geometry).pixels
        except BrokenImageError as error:
            return f"an image that cannot be read ({error})"
    # For training with random crops, images are larger; others are cropped at the center.
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def _fitted(field: InputField) -> str:
    import json

    return json.dumps(field.fitted)
