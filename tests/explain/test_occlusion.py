"""Occlusion of images for functions whose fall is known."""

import numpy as np
import pytest

from trainer.explain.occlusion import occlusion_maps
from trainer.inputs import FEATURES, IMAGE

GENERATOR = np.random.default_rng(1)


def brightness_of_corner(encodings):
    """Return the mean of the first 2 × 2 pixels of all encodings."""
    images = [np.asarray(inputs[IMAGE], float)[:, :2, :2] for inputs in encodings]
    return np.mean([part.mean(axis=(1, 2, 3)) for part in images], axis=0)[:, None]


def first(predictions, part):
    return predictions[:, 0]


@pytest.mark.parametrize("rows", [3, 70])
def test_only_patches_over_the_corner_matter(rows):
    images = GENERATOR.integers(0, 256, (rows, 16, 16, 3)).astype(np.uint8)
    maps = occlusion_maps(brightness_of_corner, [{IMAGE: images}], first)
    assert maps.shape == (rows, 8, 8)
    # A cell has 2 × 2 pixels, so that one patch, of the first 2 × 2 cells, covers the corner.
    fill = np.rint(images.mean(axis=(1, 2)))
    fall = images[:, :2, :2].mean(axis=(1, 2, 3)) - fill.mean(axis=1)
    patches = np.array([[1, 2], [2, 4]])
    np.testing.assert_allclose(maps[:, :2, :2], fall[:, None, None] / patches)
    assert not maps[:, 2:].any()
    assert not maps[:, :, 2:].any()


def test_other_inputs_and_encodings_are_kept():
    images = GENERATOR.integers(0, 256, (4, 5, 9, 1)).astype(np.uint8)
    numbers = np.arange(4, dtype=np.float32)[:, None]
    seen = []

    def predict(encodings):
        assert len(encodings) == 2
        seen.append([inputs[FEATURES] for inputs in encodings])
        return brightness_of_corner(encodings)

    encodings = [{FEATURES: numbers * scale, IMAGE: images} for scale in (1, 2)]
    maps = occlusion_maps(predict, encodings, first)
    assert maps.shape == (4, 5, 8)
    assert all(np.array_equal(two, 2 * numbers) for _, two in seen)
    assert len(seen) == 1 + 4 * 7


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2)])
def test_small_images(size):
    images = GENERATOR.integers(0, 256, (2, *size, 3)).astype(np.uint8)
    maps = occlusion_maps(lambda rows: np.zeros((2, 1)), [{IMAGE: images}], first)
    assert maps.shape == (2, min(size[0], 8), min(size[1], 8))
    assert not maps.any()
