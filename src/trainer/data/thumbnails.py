"""Small PNG and JPEG files of decoded images, to embed in a page. Pillow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDES = (112, 80, 56, 40, 24)
_QUALITY, _SMALL = 85, 64 * 64
_PANEL, _GAP = 160, 4
# From black over purple and orange to light yellow, of increasing lightness.
_COLORS = np.array([(0, 0, 4), (86, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)])
_OPACITY = 0.65


def thumbnails(images: Sequence[NDArray[np.uint8]], max_bytes: int) -> list[bytes]:
    """Return a file for each image, whose longer side is reduced to at most 112 pixels.

    It is reduced further if the files would be larger than `max_bytes` together, but not below 24.

    Args:
        images: (height, width, channels) each.
        max_bytes: Limit of the sizes of all files together.
    """
    files: list[bytes] = []
    for side in _SIDES:
        files = [image_file(_reduced(_image(pixels), side)) for pixels in images]
        if sum(map(len, files)) <= max_bytes:
            break
    return files


def image_file(image: Image) -> bytes:
    """Return an image as a JPEG file, or, if it is small, as PNG if that is smaller."""
    files = []
    for name in ("JPEG", "PNG") if image.width * image.height <= _SMALL else ("JPEG",):
        buffer = io.BytesIO()
        image.save(buffer, name, **({"quality": _QUALITY} if name == "JPEG" else {}))
        files.append(buffer.getvalue())
    return min(files, key=len)


def heat_map_file(pixels: NDArray[np.uint8], maps: Sequence[NDArray[Any]]) -> bytes:
    """Return a JPEG file of an image and, beside it, the image under each of the heat maps.

    Args:
        pixels: uint8 (height, width, channels).
        maps: (rows, columns) each, of any size; values up to 0 are not shown, and the largest value has
            the lightest color.
    """
    from PIL import Image

    plain = _image(pixels).convert("RGB")
    scale = _PANEL / max(plain.size)
    size = (max(1, round(plain.width * scale)), max(1, round(plain.height * scale)))
    plain = plain.resize(size, Image.Resampling.BILINEAR)
    panels = [plain, *(_under(plain, heat) for heat in maps)]
    sheet = Image.new("RGB", (len(panels) * (size[0] + _GAP) - _GAP, size[1]), "white")
    for number, panel in enumerate(panels):
        sheet.paste(panel, (number * (size[0] + _GAP), 0))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _under(image: Image, heat: NDArray[Any]) -> Image:
    """Return an image in grey under a heat map."""
    from PIL import Image

    values = np.maximum(np.nan_to_num(heat.astype(np.float32)), 0)
    largest = float(values.max(initial=0))
    values = values / largest if largest > 0 else values
    resized = Image.fromarray(values).resize(image.size, Image.Resampling.BILINEAR)
    share = np.clip(np.asarray(resized), 0, 1)
    points = np.linspace(0, 1, len(_COLORS))
    colors = np.stack([np.interp(share, points, _COLORS[:, index]) for index in range(3)], axis=2)
    grey = np.asarray(image.convert("L"), np.float64)[..., None]
    mixed = (1 - _OPACITY * share[..., None]) * grey + _OPACITY * share[..., None] * colors
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def _image(pixels: NDArray[np.uint8]) -> Image:
    from PIL import Image

    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _reduced(image: Image, side: int) -> Image:
    from PIL.Image import Resampling

    scale = side / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Resampling.BILINEAR, reducing_gap=2.0)
