"""Changes of images against numpy, scipy and plain formulas, and what they depend on."""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, stats

from trainer.config.augment import (
    AUGMENT_KINDS,
    AugmentKind,
    Brightness,
    Contrast,
    CutMix,
    Cutout,
    Flip,
    Mixup,
    Noise,
    Rotate,
    Saturation,
    Shear,
    Shift,
    Zoom,
)
from trainer.models.augment import (
    Augmentation,
    Draws,
    Rows,
    mixed,
    moved,
    random_crop,
    recolored,
    smaller_shares,
)
from trainer.models.image_motions import Motion, resample

ROWS, SIZE = 6, (8, 11)
MODES = {
    "reflect": "reflect",
    "nearest": "nearest",
    "wrap": "grid-wrap",
    "constant": "grid-constant",
}


@pytest.fixture(scope="module")
def images() -> Any:
    return np.random.default_rng(0).integers(0, 256, (ROWS, *SIZE, 3)).astype(np.float32)


def draws(slot: int = 0) -> Draws:
    rows = tf.constant(range(1, ROWS + 1), tf.uint32) * tf.constant(0x9E3779B9, tf.uint32)
    return Draws(rows, tf.fill([ROWS], tf.constant(3, tf.uint32)), slot)


def uniform(count: int, slot: int = 0) -> Any:
    """Return the (rows, count) numbers in [0, 1) that a kind draws."""
    return np.stack([draw.numpy() for draw in draws(slot).uniform(count)], axis=1)


def keys(rows: Any, epoch: int = 1) -> Any:
    return tf.constant([[row, epoch] for row in rows], tf.int32)


def batch_of(images: Any) -> tuple[Any, Any]:
    return tf.constant(images.astype(np.uint8)), tf.one_hot(range(len(images)), len(images))


def scipy_motion(image: Any, matrix: Any, offset: Any, mode: str, value: float) -> Any:
    """Sample an image at matrix · position + offset, relative to its center."""
    middle = (np.array(image.shape[:2]) - 1) / 2
    start = middle - matrix @ middle + offset
    return np.stack(
        [
            ndimage.affine_transform(
                channel, matrix, start, order=1, mode=MODES[mode], cval=value, prefilter=False
            )
            for channel in np.moveaxis(image.astype(np.float64), 2, 0)
        ],
        axis=2,
    )


@pytest.mark.parametrize("mode", MODES)
def test_interpolation_agrees_with_scipy(images: Any, mode: str) -> None:
    generator = np.random.default_rng(1)
    matrices = generator.normal(0, 0.8, (ROWS, 2, 2)) + np.eye(2)
    offsets = generator.normal(0, 6, (ROWS, 2))
    motion = Motion(
        *(
            tf.constant(values, tf.float32)
            for values in (
                matrices[:, 0, 0], matrices[:, 0, 1], offsets[:, 0],
                matrices[:, 1, 0], matrices[:, 1, 1], offsets[:, 1],
            )
        )
    )  # fmt: skip
    ours = resample(tf.constant(images), motion, mode, 77.0).numpy()
    for image, matrix, offset, our in zip(images, matrices, offsets, ours, strict=True):
        np.testing.assert_allclose(our, scipy_motion(image, matrix, offset, mode, 77), atol=0.02)


def inverse_matrix(kind: AugmentKind, row: Any) -> tuple[Any, Any]:
    """Return where a pixel (row, column) comes from, given the numbers that an image draws."""
    matrix, offset = np.eye(2), np.zeros(2)
    drawn = row[1:]
    match kind:
        case Rotate(degrees=[low, high]):
            angle = (low + (high - low) * drawn[0]) * pi / 180
            matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        case Zoom(factor=factor):
            matrix /= 1 - factor + 2 * factor * drawn[0]
        case Shift(height_factor=height, width_factor=width):
            shares = np.array([height, width])
            offset = -np.round((2 * drawn[:2] - 1) * shares * SIZE)
        case Shear(degrees=degrees):
            tangents = np.tan((2 * drawn[:2] - 1) * degrees * pi / 180)
            matrix = np.array([[1, 0], [-tangents[0], 1]]) @ np.array([[1, -tangents[1]], [0, 1]])
    return matrix, offset


@pytest.mark.parametrize(
    "kind",
    [
        Rotate(degrees=[-30.0, 60.0]),
        Zoom(factor=0.4),
        Shift(height_factor=0.3, width_factor=0.5),
        Shear(degrees=30.0, direction="both"),
        Rotate(degrees=[-30.0, 60.0], probability=0.5, fill_mode="constant", fill_value=9.0),
    ],
)
def test_motions_are_those_of_the_matrices(images: Any, kind: Any) -> None:
    ours = moved(tf.constant(images), [kind], [draws()]).numpy()
    for image, row, our in zip(images, uniform(3), ours, strict=True):
        matrix, offset = inverse_matrix(kind, row)
        if row[0] >= kind.probability:
            matrix, offset = np.eye(2), np.zeros(2)
        expected = scipy_motion(image, matrix, offset, kind.fill_mode, kind.fill_value)
        np.testing.assert_allclose(our, expected, atol=0.02)
    if kind.probability < 1:
        unchanged = (ours == images).all(axis=(1, 2, 3))
        np.testing.assert_array_equal(unchanged, uniform(1)[:, 0] >= kind.probability)
        assert 0 < unchanged.sum() < ROWS


def test_several_motions_follow_each_other(images: Any) -> None:
    kinds = [Rotate(degrees=[90.0, 90.0]), Shift(factor=[0.25, 0.25]), Flip(probability=1.0)]
    square = images[:, :, :8]
    ours = moved(tf.constant(square), kinds, [draws(slot) for slot in range(3)]).numpy()
    turned = np.rot90(square, axes=(1, 2))
    shifted = np.concatenate([turned[:, 1::-1], turned[:, :6]], axis=1)
    shifted = np.concatenate([shifted[:, :, 1::-1], shifted[:, :, :6]], axis=2)
    np.testing.assert_allclose(ours, shifted[:, :, ::-1], atol=0.01)


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "both"])
def test_flips_and_shifts_do_not_blur(images: Any, direction: str) -> None:
    flip = Flip(direction=direction)  # type: ignore[arg-type]
    ours = moved(tf.constant(images), [flip], [draws()]).numpy()
    for image, row, our in zip(images, uniform(2), ours, strict=True):
        expected = image[:, ::-1] if row[0] < 0.5 and direction != "vertical" else image
        expected = expected[::-1] if row[1] < 0.5 and direction != "horizontal" else expected
        np.testing.assert_array_equal(our, expected)
    assert 0 < (ours == images).all(axis=(1, 2, 3)).sum() < ROWS
    ours = moved(tf.constant(images), [Shift(factor=0.4, fill_mode="wrap")], [draws()]).numpy()
    for image, row, our in zip(images, uniform(3), ours, strict=True):
        offset = np.round((2 * row[1:] - 1) * 0.4 * SIZE).astype(int)
        np.testing.assert_array_equal(our, np.roll(image, offset, axis=(0, 1)))


def recolored_by_numpy(kind: AugmentKind, image: Any, drawn: float) -> Any:
    grey = (image @ [0.299, 0.587, 0.114])[..., None]
    match kind:
        case Brightness(factor=[low, high]):
            changed = image + 255 * (low + (high - low) * drawn)
        case Contrast(factor=factor):
            mean = image.mean(axis=(0, 1))
            changed = mean + (image - mean) * (1 - factor + 2 * factor * drawn)
        case Saturation(factor=factor):
            changed = grey + (image - grey) * (1 - factor + 2 * factor * drawn)
        case _:
            raise AssertionError(kind)
    return np.clip(changed, 0, 255)


@pytest.mark.parametrize(
    "kind", [Brightness(factor=[-0.1, 0.5]), Contrast(factor=0.8), Saturation(factor=0.9)]
)
def test_colors(images: Any, kind: AugmentKind) -> None:
    ours = recolored(tf.constant(images), kind, draws()).numpy()
    for image, row, our in zip(images, uniform(2), ours, strict=True):
        np.testing.assert_allclose(our, recolored_by_numpy(kind, image, row[1]), atol=0.01)


def test_noise_has_the_given_deviation() -> None:
    grey = tf.fill([ROWS, 60, 60, 3], 127.0)
    noise = recolored(grey, Noise(stddev=0.1, probability=0.5), draws()).numpy() - 127
    changed = uniform(1)[:, 0] < 0.5
    assert not noise[~changed].any()
    np.testing.assert_allclose(noise[changed].std(axis=(1, 2, 3)), 25.5, rtol=0.03)
    np.testing.assert_allclose(noise[changed].mean(axis=(1, 2, 3)), 0, atol=1)
    assert len(np.unique(noise[changed])) > 0.9 * noise[changed].size / 3


def is_covered(size: float, down: float, across: float) -> Any:
    inside = [
        np.abs((np.arange(length) + 0.5) / length - center) < size / 2
        for length, center in zip(SIZE, (down, across), strict=True)
    ]
    return np.outer(*inside)[..., None]


def test_cutout(images: Any) -> None:
    ours = recolored(tf.constant(images), Cutout(size=[0.2, 0.8], fill_value=7.0), draws()).numpy()
    for image, row, our in zip(images, uniform(4), ours, strict=True):
        covered = is_covered(0.2 + 0.6 * row[1], row[2], row[3])
        np.testing.assert_array_equal(our, np.where(covered, 7, image))
    assert (ours == 7).any()


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 3.0, 50.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    levels = np.linspace(0, 1, 1025)
    expected = stats.beta.ppf(levels / 2, alpha, alpha)
    np.testing.assert_allclose(smaller_shares(alpha), expected, atol=1e-3)


@pytest.mark.parametrize("kind", [Mixup(alpha=0.4), CutMix(alpha=2.0), CutMix(probability=0.5)])
@pytest.mark.parametrize("weights", [None, [1, 2, 0, 4, 0, 0]])
def test_mixed_images_have_mixed_targets(images: Any, kind: Any, weights: Any) -> None:
    y = np.eye(ROWS, dtype=np.float32)
    weight = None if weights is None else tf.constant(weights, tf.float32)
    ours = mixed(Rows(tf.constant(images), tf.constant(y), weight), kind, draws())
    drawn = uniform(5)
    partner = np.argsort(drawn[:, 2], kind="stable")
    shares = np.interp(drawn[:, 1], np.linspace(0, 1, 1025), smaller_shares(kind.alpha))
    shares = np.where(drawn[:, 0] < kind.probability, shares, 0)
    assert 0 < shares.max() < 0.5
    for row in range(ROWS):
        share, other = shares[row], images[partner[row]]
        image = images[row] + share * (other - images[row])
        if isinstance(kind, CutMix):
            covered = is_covered(share**0.5, *drawn[row, 3:])
            image, share = np.where(covered, other, images[row]), covered.mean()
        np.testing.assert_allclose(ours.images[row], image, atol=0.01)
        kept, part = 1 - share, share
        if weights is not None:
            kept, part = kept * weights[row], part * weights[partner[row]]
            np.testing.assert_allclose(ours.weight[row], kept + part, rtol=1e-4)
        weighted = ours.y[row] * (kept + part)
        np.testing.assert_allclose(weighted, kept * y[row] + part * y[partner[row]], atol=1e-4)


def test_random_crops(images: Any) -> None:
    ours = random_crop(tf.constant(images), (5, 6), draws()).numpy()
    for image, row, our in zip(images, uniform(2), ours, strict=True):
        top, left = np.floor(row * [4, 6]).astype(int)
        np.testing.assert_array_equal(our, image[top : top + 5, left : left + 6])


EVERYTHING = [kind() for kind in AUGMENT_KINDS if not kind.mixes]


@pytest.fixture
def _eager() -> Any:
    """Run without XLA, which takes seconds to compile."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.slow
def test_compiled_changes_are_the_same(images: Any) -> None:
    kinds = [kind() for kind in AUGMENT_KINDS]
    x, y = batch_of(images)
    compiled = Augmentation(kinds, seed=3, crop=(6, 7))((x, y), keys(range(ROWS)))
    tf.config.run_functions_eagerly(True)
    try:
        plain = Augmentation(kinds, seed=3, crop=(6, 7))((x, y), keys(range(ROWS)))
    finally:
        tf.config.run_functions_eagerly(False)
    # Rounding.
    difference = np.abs(compiled[0].numpy().astype(int) - plain[0].numpy())
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    np.testing.assert_allclose(compiled[1], plain[1], atol=1e-6)


@pytest.mark.usefixtures("_eager")
def test_changes_depend_on_seed_epoch_and_row_only(images: Any) -> None:
    augment = Augmentation(EVERYTHING, seed=3, crop=(6, 7))
    x, y = batch_of(images)
    whole, same_y = augment((x, y), keys([5, 4, 9, 0, 2, 3]))
    assert whole.dtype == tf.uint8
    assert whole.shape == (ROWS, 6, 7, 3)
    np.testing.assert_array_equal(same_y, y)
    part, _ = augment((x[3:1:-1], y[:2]), keys([0, 9]))
    np.testing.assert_array_equal(part, whole.numpy()[3:1:-1])
    for other in (
        augment((x, y), keys([5, 4, 9, 0, 2, 3], epoch=2)),
        augment((x, y), keys([6, 5, 10, 1, 3, 4])),
        Augmentation(EVERYTHING, seed=4, crop=(6, 7))((x, y), keys([5, 4, 9, 0, 2, 3])),
    ):
        assert (other[0].numpy() != whole.numpy()).any(axis=(1, 2, 3)).all()


@pytest.mark.usefixtures("_eager")
def test_other_inputs_and_weights_are_kept(images: Any) -> None:
    x, y = batch_of(images)
    rng = np.random.default_rng(0)
    features = tf.constant(rng.normal(size=(ROWS, 2)), tf.float32)
    weight = tf.constant(rng.random(ROWS), tf.float32)
    augment = Augmentation([Flip(), Rotate(), Brightness()], seed=1)
    alone, _ = augment((x, y), keys(range(ROWS)))
    changed, _, same_weight = augment(
        ({"image": x, "features": features}, y, weight), keys(range(ROWS))
    )
    np.testing.assert_array_equal(changed["image"], alone)
    np.testing.assert_array_equal(changed["features"], features)
    np.testing.assert_array_equal(same_weight, weight)


@pytest.mark.usefixtures("_eager")
def test_neutral_settings_change_nothing(images: Any) -> None:
    kinds = [
        Rotate(degrees=0.0), Zoom(factor=0.0), Shift(factor=0.0), Shear(degrees=0.0),
        Brightness(factor=0.0), Contrast(factor=0.0), Saturation(factor=0.0), Noise(stddev=0.0),
        Cutout(size=0.0),
    ]  # fmt: skip
    x, y = batch_of(images)
    np.testing.assert_array_equal(Augmentation(kinds, seed=1)((x, y), keys(range(ROWS)))[0], x)
