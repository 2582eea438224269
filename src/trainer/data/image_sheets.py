"""Sheets of images in rows and columns, as JPEG."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GAP = 4
_QUALITY = 88


def sheet_jpeg(images: NDArray[Any], side: int = 96) -> bytes:
    """Return a sheet of images.

    Args:
        images: uint8 (rows, columns, height, width, channels), with 1 or 3 channels.
        side: Length of the longer side of an image on the sheet.
    """
    from PIL import Image

    rows, columns, height, width, channels = images.shape
    scale = side / max(height, width)
    # Whole pixels of small images remain visible.
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
    size = max(1, round(width * scale)), max(1, round(height * scale))
    sheet = Image.new(
        "RGB", (columns * (size[0] + _GAP) - _GAP, rows * (size[1] + _GAP) - _GAP), "white"
    )
    for row in range(rows):
        for column in range(columns):
            pixels = np.broadcast_to(
                images[row, column], (height, width, 3 if channels == 1 else channels)
            )
            image = Image.fromarray(np.ascontiguousarray(pixels)).resize(size, method)
            sheet.paste(image, (column * (size[0] + _GAP), row * (size[1] + _GAP)))
    file = BytesIO()
    sheet.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
