"""Hostile and odd images: every command ends with a message, and counts the images of each class."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from tests.cli.conftest import INTERNAL
from tests.report.page.html_checks import check_page

GOOD, BROKEN, EITHER = "good", "broken", "either"
Files = Iterator[tuple[str, bytes, str]]
"""Name, content, and whether it can be decoded."""

CONFIG = """\
data: {source: photos, image: {size: 16}, split: {by: random}}
model: {layers: [flatten, {dense: 4}]}
fit: {epochs: 1}
evaluate: {report: false}
"""


def picture(width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def every_format() -> Files:
    """Yield an image in each format that Pillow can read and write, in several modes."""
    Image.init()
    names = {
        "JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp",
        "PPM": "ppm", "TGA": "tga", "ICO": "ico", "JPEG2000": "jp2", "PCX": "pcx", "SGI": "sgi",
        "DIB": "dib", "IM": "im", "MSP": "msp", "XBM": "xbm", "DDS": "dds", "SPIDER": "spi",
        "QOI": "qoi", "AVIF": "avif", "ICNS": "icns",
    }  # fmt: skip
    for name, suffix in names.items():
        for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F"):
            try:
                content = encoded(picture(mode=mode) if mode != "I;16" else deep(), name)
            except (OSError, ValueError, KeyError, struct.error):
                continue  # Pillow does not write this mode in this format.
            yield f"{name} {mode}.{suffix}", content, GOOD


def deep() -> Image.Image:
    return Image.fromarray((np.arange(1200).reshape(30, 40) * 50).astype(np.uint16))


def truncated() -> Files:
    for suffix, name in (("jpg", "JPEG"), ("png", "PNG")):
        content = encoded(picture(), name)
        for part in range(20):
            kept = len(content) * part // 20
            yield f"truncated {part}.{suffix}", content[:kept], BROKEN
        for number in range(4):
            yield f"whole {number}.{suffix}", content, GOOD


def flipped() -> Files:
    generator = np.random.default_rng(0)
    for number in range(40):
        name = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")[number % 6]
        content = np.frombuffer(encoded(picture(), name), np.uint8).copy()
        places = generator.integers(0, len(content), 8)
        content[places] = generator.integers(0, 256, 8)
        yield f"flipped {number}.{name.lower()}", content.tobytes(), EITHER


def declared(width: int, height: int) -> bytes:
    chunks = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), zlib.compress(b"\0" * 1000)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, content in zip((b"IHDR", b"IDAT"), chunks, strict=True):
        parts.append(struct.pack(">I", len(content)) + name + content)
        parts.append(struct.pack(">I", zlib.crc32(name + content)))
    return b"".join(parts)


def odd() -> Files:
    jpeg, frames = encoded(picture(), "JPEG"), [picture(), picture(mode="L")]
    yield "wrong extension.png", jpeg, GOOD
    yield "upper.JPEG", jpeg, GOOD
    yield "one pixel.png", encoded(picture(1, 1), "PNG"), GOOD
    yield "wide.png", encoded(picture(10_000, 1), "PNG"), GOOD
    yield "high.png", encoded(picture(1, 10_000), "PNG"), GOOD
    yield "new\nline.jpg", jpeg, GOOD
    yield "🐈 'quoted\" $HOME.jpg", jpeg, GOOD
    yield "%2e%2e*?[a].jpg", jpeg, GOOD
    yield "-rf.jpg", jpeg, GOOD
    yield "animated.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames), GOOD
    yield "animated.png", encoded(frames[0], "PNG", save_all=True, append_images=frames), GOOD
    yield "animated.webp", encoded(frames[0], "WEBP", save_all=True, append_images=frames), GOOD
    yield "pages.tif", encoded(frames[0], "TIFF", save_all=True, append_images=frames), GOOD
    yield "no bytes.jpg", b"", BROKEN
    yield "text.jpg", b"hello", BROKEN
    yield "zeros.png", bytes(10_000), BROKEN
    yield "bomb.png", declared(30_000, 30_000), BROKEN
    yield "large.png", declared(13_000, 12_000), BROKEN
    yield "negative.png", declared(2**31, 2**31), BROKEN
    yield "postscript.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n", BROKEN
    yield "svg.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", BROKEN
    yield "html.jpg", b"<!DOCTYPE html><title>404</title>", BROKEN


def write(folder: Path, files: Files) -> dict[str, str]:
    """Write the files in turn to two classes; return the path of each with what is expected."""
    expected = {}
    for number, (name, content, state) in enumerate(files):
        path = folder / ("a", "b")[number % 2] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        expected[str(path)] = state
    return expected


def check_all(folder: Path, expected: dict[str, str], trainer: Callable[..., Any]) -> None:
    """Check the folder with broken images as errors, and dropped."""
    (folder / "c.yaml").write_text(CONFIG)
    labels = [Path(path).parent.name for path in expected]
    plain = trainer("check", "c.yaml", "--json")
    assert plain.code == 0, plain
    classes = plain.json["classes"].values()
    for label in ("a", "b"):
        assert sum(counts[label] for counts in classes) == labels.count(label)
    dropped = trainer("check", "c.yaml", "--json", "data.image.broken=drop")
    assert dropped.code == 0, dropped
    broken = dropped.json["dropped"].get("broken image", 0)
    states = list(expected.values())
    certain = states.count(BROKEN)
    assert certain <= broken <= certain + states.count(EITHER)
    assert sum(dropped.json["rows"].values()) == len(expected) - broken
    if certain:
        assert f"{broken} broken images: " in dropped.err
    sheet = trainer("check", "c.yaml", "--sheet", "sheet.html")
    assert sheet.code == 0, sheet
    check_page(Path("sheet.html").read_text())
    # Standardizing needs the training images.
    fitted = trainer("check", "c.yaml", "data.image.scale=standardize", "--json")
    assert fitted.code == 2 if certain else fitted.code in ({0, 2} if broken else {0}), fitted
    assert all(text not in plain.err + dropped.err + fitted.err + sheet.err for text in INTERNAL)


def link_and_lock(folder: Path) -> dict[str, str]:
    """Add links out of the folder, to nothing and to itself, and a file without permission."""
    outside = folder / "outside.jpg"
    outside.write_bytes(encoded(picture(), "JPEG"))
    (folder / "photos" / "a" / "link.jpg").symlink_to(outside)
    (folder / "photos" / "a" / "dangling.jpg").symlink_to(folder / "nothing.jpg")
    (folder / "photos" / "b" / "loop").symlink_to(folder / "photos")
    (folder / "photos" / "b" / "circle.jpg").symlink_to("circle.jpg")
    expected = {"photos/a/link.jpg": GOOD}
    if os.geteuid() != 0:
        locked = folder / "photos" / "b" / "locked.jpg"
        locked.write_bytes(outside.read_bytes())
        locked.chmod(0)
        expected["photos/b/locked.jpg"] = BROKEN
    return expected


def test_odd_images(folder: Path, trainer: Callable[..., Any]) -> None:
    expected = write(Path("photos"), odd())
    expected |= link_and_lock(folder)
    check_all(folder, expected, trainer)


@pytest.mark.slow
@pytest.mark.parametrize("make", [every_format, truncated, flipped])
def test_hostile_images(
    folder: Path, trainer: Callable[..., Any], make: Callable[[], Files]
) -> None:
    expected = write(Path("photos"), make())
    assert len(expected) >= 40 or not features.check("avif")
    check_all(folder, expected, trainer)


@pytest.mark.slow
def test_fit_and_predict(
    folder: Path, trainer: Callable[..., Any], refused: Callable[..., Any]
) -> None:
    expected = write(Path("photos"), odd())
    (folder / "c.yaml").write_text(CONFIG)
    fitted = refused("fit", "c.yaml", mentions=["expected an image", "data.image.broken: drop"])
    assert len(fitted.json["error"]["problems"]) == 5
    assert not Path("runs").exists() or not list(Path("runs").glob("*/*/checkpoints"))
    settings = ("data.image.broken=drop", "evaluate.report=true")
    fitted = trainer("fit", "c.yaml", *settings, "--quiet")
    assert fitted.code == 0, fitted
    predicted = trainer("predict", fitted.out.strip(), "photos", "-o", "out.csv", "--keep", "path")
    assert predicted.code == 0, predicted
    broken = list(expected.values()).count(BROKEN)
    assert f"{broken} rows have a broken image (read as black) in 'path'" in predicted.err
    explained = trainer("explain", fitted.out.strip(), "--rows", "photos")
    assert explained.code == 0, explained
    assert f"{broken} rows have a broken image (read as black) in 'path'" in explained.err
    check_page((Path(fitted.out.strip()) / "report.html").read_text())
    everything = fitted.err + predicted.err + explained.err
    assert all(text not in everything for text in INTERNAL)
