import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from trainer.data.image_decoding import BrokenImageError, Geometry, decode_image

SQUARE = Geometry(8, 8, None, 3)


def saved(tmp_path, image, name="x.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return str(path)


def gradient(height=40, width=60):
    y, x = np.mgrid[:height, :width]
    return np.stack([4 * x, 5 * y, 0 * x + 30], axis=2).astype(np.uint8)


def test_stretched_images_are_those_of_pillow(tmp_path):
    image = Image.fromarray(gradient())
    decoded = decode_image(saved(tmp_path, image), Geometry(20, 10, None, 3)).pixels
    expected = np.asarray(image.resize((10, 20), Image.Resampling.BILINEAR))
    assert decoded.shape == (20, 10, 3)
    assert np.abs(decoded.astype(int) - expected).max() <= 2


def test_the_centre_is_cut_out_after_resizing(tmp_path):
    image = Image.fromarray(gradient(40, 80))
    decoded = decode_image(saved(tmp_path, image), Geometry(10, 12, 20, 3)).pixels
    resized = np.asarray(image.resize((40, 20), Image.Resampling.BILINEAR))
    assert np.abs(decoded.astype(int) - resized[5:15, 14:26]).max() <= 2


def test_an_image_of_that_size_is_unchanged(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    path = saved(tmp_path, Image.fromarray(pixels))
    assert np.array_equal(decode_image(path, SQUARE).pixels, pixels)
    grey = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    assert np.array_equal(decode_image(path, Geometry(8, 8, None, 1)).pixels, grey)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_modes(tmp_path, mode):
    image = Image.new("RGB", (16, 16), (250, 10, 10))
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    else:
        image = image.convert(mode)
    name = {"CMYK": "x.jpg", "YCbCr": "x.jpg", "LAB": "x.tif"}.get(mode, "x.png")
    red, green, blue = decode_image(saved(tmp_path, image, name), SQUARE).pixels[4, 4].tolist()
    if mode in ("1", "L", "LA"):
        assert red == green == blue
    else:
        assert red > 200 > 80 > max(green, blue)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (np.full((8, 8), 0x8080, np.uint16), "x.png"),
        (np.full((8, 8), 0x8080, np.uint16), "x.tif"),
        (np.full((8, 8), 0x8080, np.int32), "x.tif"),
        (np.full((8, 8), 128 / 255, np.float32), "x.tif"),
        (np.full((8, 8), 128, np.float32), "x.tif"),
    ],
)
def test_more_than_eight_bits(tmp_path, values, name):
    path = saved(tmp_path, Image.fromarray(values), name)
    assert (decode_image(path, SQUARE).pixels == 128).all()


def test_transparent_pixels_are_white(tmp_path):
    path = saved(tmp_path, Image.new("RGBA", (8, 8), (9, 9, 9, 0)))
    assert (decode_image(path, SQUARE).pixels == 255).all()
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([200, 0, 0, 0, 200, 0])
    path = saved(tmp_path, palette, transparency=0)
    assert (decode_image(path, SQUARE).pixels == 255).all()


@pytest.mark.parametrize("name", ["x.gif", "x.webp", "x.png", "x.tif"])
def test_the_first_frame_of_an_animation(tmp_path, name):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue", "lime")]
    options = {} if name == "x.tif" else {"duration": 5}
    path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **options)
    assert decode_image(path, SQUARE).pixels[4, 4, 0] > 200


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path, orientation):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(pixels), "x.jpg", exif=exif, quality=95)
    decoded = decode_image(path, SQUARE).pixels[..., 0] > 128
    corners = {
        1: (0, 0),
        2: (0, 1),
        3: (1, 1),
        4: (1, 0),
        5: (0, 0),
        6: (0, 1),
        7: (1, 1),
        8: (1, 0),
    }
    row, column = corners[orientation]
    assert decoded[7 * row, 7 * column]
    assert decoded.sum() == 16


def test_large_jpegs_are_decoded_at_a_fraction(tmp_path):
    image = Image.fromarray(gradient(400, 600))
    path = saved(tmp_path, image, "x.jpg", quality=95)
    expected = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decode_image(path, SQUARE).pixels - expected).max() <= 6


def test_extreme_shapes(tmp_path):
    for size in ((1, 1), (10_000, 1), (1, 10_000)):
        path = saved(tmp_path, Image.new("RGB", size, "red"))
        for geometry in (SQUARE, Geometry(224, 224, 256, 3)):
            assert (decode_image(path, geometry).pixels == (255, 0, 0)).all()


def declared(width, height):
    """Return a PNG that declares a size and has no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    return png + struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I4sI", 0, b"IDAT", 0)


def broken(tmp_path, content):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(BrokenImageError) as error:
        decode_image(str(path), SQUARE)
    return str(error.value)


def test_broken_files(tmp_path):
    assert broken(tmp_path, b"") == "no bytes"
    assert broken(tmp_path, b"not an image") == "not an image that Pillow can read"
    assert broken(tmp_path, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == (
        "not an image that Pillow can read"
    )
    for side in (13_000, 30_000):
        assert "declares" in broken(tmp_path, declared(side, side))
    buffer = io.BytesIO()
    Image.fromarray(gradient()).save(buffer, "jpeg")
    assert "truncated" in broken(tmp_path, buffer.getvalue()[:-100])
    with pytest.raises(BrokenImageError, match="no such file"):
        decode_image(str(tmp_path / "none.jpg"), SQUARE)
    with pytest.raises(BrokenImageError, match="not a file"):
        decode_image(str(tmp_path), SQUARE)
    with pytest.raises(BrokenImageError, match="null"):
        decode_image("a\0b.jpg", SQUARE)


def test_similar_pictures_have_similar_hashes(tmp_path):
    picture = np.random.default_rng(1).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    large = Image.fromarray(picture).resize((300, 300), Image.Resampling.BICUBIC)
    geometry = Geometry(32, 32, None, 3)
    first = decode_image(saved(tmp_path, large, "a.png"), geometry)
    again = decode_image(saved(tmp_path, large.resize((150, 150)), "b.jpg", quality=60), geometry)
    other = decode_image(saved(tmp_path, large.rotate(90), "c.png"), geometry)
    assert (first.look ^ again.look).bit_count() <= 4 < 16 < (first.look ^ other.look).bit_count()
    assert first.content != again.content
