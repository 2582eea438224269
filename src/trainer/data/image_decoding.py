"""Decode image files to 8-bit arrays of one shape, with Pillow. Also run as a script by the worker
processes.

file ─ draft, first frame, EXIF rotation ─► 8 bits, white behind transparent pixels ─ resize ─► array
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISREG
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_FILE_BYTES = 1 << 30
MAX_PIXELS = 150_000_000
"""Images that declare more are not decoded: they would take gigabytes of memory."""

# Pillow also passes files to other programs (PostScript), and lists formats that it cannot decode.
_EXCLUDED_FORMATS = frozenset({"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5", "FPX", "MIC"})
_ORIENTATION = 0x0112
_ROTATED = (5, 6, 7, 8)
_MESSAGE_LENGTH = 80


class BrokenImageError(Exception):
    """A file cannot be decoded; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How an image becomes an array.

    Attributes:
        height: Rows of the array.
        width: Its columns.
        resize: Length of the shorter side before the center crop; None to ignore the aspect ratio.
        channels: 3 for red, green and blue; 1 for grayscale.
    """

    height: int
    width: int
    resize: int | None
    channels: int


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image.

    Attributes:
        pixels: uint8 (height, width, channels).
        content: 16 bytes, a hash of the file.
        look: A 64-bit perceptual hash; similar images differ in few bits.
    """

    pixels: NDArray[np.uint8]
    content: bytes
    look: int


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file declares, as the image is displayed.

    Attributes:
        height: Rows of pixels.
        width: Columns.
        has_color: Whether it is in color rather than grayscale.
    """

    height: int
    width: int
    has_color: bool


def read_header(path: str) -> ImageHeader:
    """Read what a file declares, without decoding it.

    Raises:
        BrokenImageError: It is missing, empty, too large, damaged, or not an image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _open_file(path) as file, _opened(file) as image:
                width, height = image.size
                if _orientation(image) in _ROTATED:
                    width, height = height, width
                return ImageHeader(height, width, not image.mode.startswith(("1", "L", "I", "F")))
        except BrokenImageError:
            raise
        except Exception as error:
            raise BrokenImageError(_reason(error)) from error


def decode_image(path: str, geometry: Geometry) -> DecodedImage:
    """Decode a file.

    Raises:
        BrokenImageError: It is missing, empty, too large, damaged, or not an image.
    """
    content = _read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            small = _decoded(content, geometry)
            pixels = np.asarray(small).reshape(geometry.height, geometry.width, geometry.channels)
            return DecodedImage(
                pixels, hashlib.blake2b(content, digest_size=16).digest(), _look(small)
            )
        except BrokenImageError:
            raise
        # Decoders of damaged files raise anything.
        except Exception as error:
            raise BrokenImageError(_reason(error)) from error


def _open_file(path: str) -> BinaryIO:
    """Open a file that can be an image.

    Raises:
        BrokenImageError: It cannot be.
    """
    try:
        info = os.stat(path)  # noqa: PTH116 (a Path costs more than the call)
        if not S_ISREG(info.st_mode):
            raise BrokenImageError("not a file")
        if info.st_size == 0:
            raise BrokenImageError("no bytes")
        if info.st_size > MAX_FILE_BYTES:
            raise BrokenImageError(f"{info.st_size / 1e9:.1f} GB, more than 1 GB")
        return Path(path).open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(error) from error


def _read(path: str) -> bytes:
    try:
        with _open_file(path) as file:
            return file.read()
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError | ValueError) -> BrokenImageError:
    text = error.strerror if isinstance(error, OSError) else None
    return BrokenImageError((text or str(error)).lower())


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return f"declares more than {MAX_PIXELS // 1_000_000} million pixels"
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    if isinstance(error, MemoryError):
        return "out of memory"
    lines = str(error).splitlines() or [type(error).__name__]
    return f"damaged: {lines[0][:_MESSAGE_LENGTH]}"


def _opened(file: IO[bytes]) -> Image:
    """Return an image whose header is read."""
    from PIL import Image

    Image.init()
    formats = [name for name in Image.ID if name not in _EXCLUDED_FORMATS]
    image = Image.open(file, formats=formats)
    width, height = image.size
    if width * height > MAX_PIXELS:
        found = f"{width:,} × {height:,} pixels"
        raise BrokenImageError(f"declares {found}, more than {MAX_PIXELS // 1_000_000} million")
    return image


def _decoded(content: bytes, geometry: Geometry) -> Image:
    """Return an image in mode L or RGB, of the size of the array."""
    from PIL import Image

    with _opened(io.BytesIO(content)) as opened:
        width, height = opened.size
        mode = "L" if geometry.channels == 1 else "RGB"
        # A JPEG can be decoded at a fraction of its size; twice the size leaves enough to resize.
        target = 2 * max(geometry.height, geometry.width, geometry.resize or 0)
        if min(width, height) > target:
            opened.draft(mode, (target, target))
        image = _apply_orientation(_in_mode(opened, mode))
    size = (geometry.width, geometry.height)
    box = None
    if geometry.resize is not None:
        # Crop before resizing: one side of the full image could have millions of pixels.
        scale = min(image.size) / geometry.resize
        cut = (geometry.width * scale, geometry.height * scale)
        left, top = ((whole - part) / 2 for whole, part in zip(image.size, cut, strict=True))
        box = (left, top, left + cut[0], top + cut[1])
    if box is None and image.size == size:
        return image
    return image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)


def _in_mode(image: Image, mode: str) -> Image:
    """Return the first frame with 8 bits per channel and without transparency."""
    import PIL.Image

    image.load()
    if image.mode.startswith(("I", "F")):
        image = PIL.Image.fromarray(_eight_bits(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels of more than 8 bits, or fractions, as 8 bits."""
    if values.dtype.kind == "f":
        scaled = np.nan_to_num(values) * (255.0 if np.nanmax(values, initial=0) <= 1 else 1.0)
    else:
        # 32-bit values that do not fit in 16 bits are rare and are clipped.
        scaled = values / (257.0 if values.dtype.itemsize == 2 or values.max() > 255 else 1.0)
    eight: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return eight


def _orientation(image: Image) -> int:
    """Return the EXIF orientation, from 1 (unchanged) to 8."""
    orientation: int = image.getexif().get(_ORIENTATION, 1)
    return orientation


def _apply_orientation(image: Image) -> Image:
    from PIL import ImageOps

    # EXIF data can be damaged even if the image is not.
    with suppress(Exception):
        if _orientation(image) != 1:
            return ImageOps.exif_transpose(image)
    return image


def _look(image: Image) -> int:
    """Return a difference hash: whether each of 8 × 8 places is brighter than the one to its left."""
    from PIL.Image import Resampling

    small = image.convert("L").resize((9, 8), Resampling.BOX)
    values = np.asarray(small, np.int16)
    return int.from_bytes(np.packbits(values[:, 1:] > values[:, :-1]).tobytes(), "big")


def _sums(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the sums of the values of each channel and of their squares, (2, channels)."""
    values = np.arange(256.0)
    # Counting is much faster than converting the values.
    counts = np.array(
        [np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(pixels, 2, 0)]
    )
    return np.stack([counts @ values, counts @ np.square(values)])


class ImageFiles:
    """The arrays in a folder of the cache, filled by several processes.

    Attributes:
        pixels: uint8 (n, height, width, channels).
        sums: float64 (n, 2, channels), the sum of the values of each image and of their squares.
        content: uint8 (n, 16), see `DecodedImage`.
        look: uint64 (n,).
    """

    def __init__(self, folder: Path, *, writable: bool = False) -> None:
        """Map the arrays.

        Raises:
            OSError: A file is missing.
            ValueError: A file is damaged.
        """
        mode: Any = "r+" if writable else "r"
        self.pixels: NDArray[np.uint8] = np.load(folder / "pixels.npy", mmap_mode=mode)
        self.sums: NDArray[np.float64] = np.load(folder / "sums.npy", mmap_mode=mode)
        self.content: NDArray[np.uint8] = np.load(folder / "content.npy", mmap_mode=mode)
        self.look: NDArray[np.uint64] = np.load(folder / "look.npy", mmap_mode=mode)

    @staticmethod
    def create(folder: Path, count: int, geometry: Geometry) -> None:
        """Create the files, filled with 0.

        Raises:
            OSError: There is not enough space.
        """
        shape = (count, geometry.height, geometry.width, geometry.channels)
        for name, dtype, full in (
            ("pixels", "uint8", shape),
            ("sums", "float64", (count, 2, geometry.channels)),
            ("content", "uint8", (count, 16)),
            ("look", "uint64", (count,)),
        ):
            path = folder / f"{name}.npy"
            np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=full)
            if hasattr(os, "posix_fallocate"):
                # Writing to a mapped page for which there is no space would end the process.
                with path.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)

    def decode(self, first: int, paths: Sequence[str], geometry: Geometry) -> list[tuple[int, str]]:
        """Decode files into the rows from `first` on; return the broken ones, each with the reason."""
        broken = []
        for row, path in enumerate(paths, first):
            try:
                image = decode_image(path, geometry)
            except BrokenImageError as error:
                broken.append((row, str(error)))
                continue
            self.pixels[row] = image.pixels
            self.sums[row] = _sums(image.pixels)
            self.content[row] = np.frombuffer(image.content, np.uint8)
            self.look[row] = image.look
        return broken


def worker_input(folder: Path, geometry: Geometry) -> str:
    """Return the first line that a worker process reads."""
    return json.dumps({"folder": str(folder), **asdict(geometry)})


def run_worker() -> None:
    """Decode the files named on stdin, one JSON list [first row, paths…] per line.

    Replies to each with one line, the list of broken files. Exits when stdin is closed.
    """
    settings = json.loads(sys.stdin.readline())
    folder = Path(settings.pop("folder"))
    geometry = Geometry(**settings)
    files = ImageFiles(folder, writable=True)
    for line in sys.stdin:
        first, *paths = json.loads(line)
        print(json.dumps(files.decode(first, paths, geometry)), flush=True)  # noqa: T201


if __name__ == "__main__":
    run_worker()
