"""Small files of decoded images."""

import io

import numpy as np
import pytest
from PIL import Image

from trainer.data.thumbnails import heat_map_file, thumbnails


def noise(height, width, channels=3):
    shape = (height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def opened(content):
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_are_lossless(channels):
    pixels = noise(8, 10, channels)
    (file,) = thumbnails([pixels], 10_000)
    image = opened(file)
    assert image.format == "PNG"
    np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


def test_large_images_are_reduced():
    image = opened(thumbnails([noise(300, 600)], 100_000)[0])
    assert image.size == (112, 56)
    many = thumbnails([noise(200, 200)] * 50, 100_000)
    assert sum(map(len, many)) <= 100_000
    assert opened(many[0]).size == (56, 56)
    assert opened(thumbnails([noise(200, 200)] * 50, 1_000)[0]).size == (24, 24)
    assert opened(thumbnails([noise(1, 2000)], 1000)[0]).size == (112, 1)
    assert thumbnails([], 10) == []


def test_heat_map():
    pixels = np.full((20, 40, 3), 100, np.uint8)
    hot = np.zeros((2, 4))
    hot[:, 0] = 3
    sheet = np.asarray(opened(heat_map_file(pixels, [hot, -hot]))).astype(int)
    assert sheet.shape == (80, 3 * 160 + 8, 3)
    plain, first, second = sheet[:, :160], sheet[:, 164:324], sheet[:, 328:]
    assert np.abs(plain - 100).max() <= 4
    assert np.abs(second - 100).max() <= 4
    # The hot quarter is light yellow, the other side as before.
    assert first[40, 5, 0] > 190
    assert np.abs(first[:, 100:] - 100).max() <= 6
