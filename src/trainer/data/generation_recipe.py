"""The networks that `trainer init --task generate` proposes, and how they are trained.

Sizes follow from the number of rows and of values of a row.
"""

from __future__ import annotations

from dataclasses import dataclass

_TRAINING_SHARE = 0.6
_STEPS = 3_000
"""Target number of updates of the generator."""
_MIN_EPOCHS, _MAX_EPOCHS = 10, 300
_STEPS_PER_EPOCH = 16
"""Minimum, unless the table is tiny: measures are computed after each epoch."""
_MIN_BATCH, _MAX_BATCH = 8, 512
_DENSE_IMAGE, _SMALL_IMAGE = 1_024, 256
"""Values of an image up to which dense layers, and small ones, generate it."""
_CONVOLUTION_STRIDE = 4
_LEAKY = "activation: leaky_relu"


@dataclass(frozen=True, slots=True)
class GenerationRecipe:
    """Networks and their training.

    Attributes:
        generator: The lines of the layers of the generator.
        discriminator: The lines of those of the discriminator.
        rate: Learning rate of both optimizers.
        generation: The lines of the section `generation`, without image and condition.
        epochs: Number of epochs.
        batch_size: Rows of a batch.
    """

    generator: tuple[str, ...]
    discriminator: tuple[str, ...]
    rate: str
    generation: tuple[str, ...]
    epochs: int
    batch_size: int


def recipe_for_rows(rows: int, values: int) -> GenerationRecipe:
    """Return the recipe for a table.

    Args:
        rows: Its number of rows.
        values: Number of encoded values of a row.
    """
    units = 64 if values <= 8 else 128 if values <= 128 else 256
    steps = 2
    batch_size, epochs = _lengths(rows, steps)
    dense = f"- dense: {{units: {units}, {_LEAKY}}}"
    return GenerationRecipe(
        generator=(dense, "- batch_normalization") * 2,
        discriminator=(dense,) * 2,
        rate="1e-3",
        generation=(
            f"latent: {_power_of_two(values, 8, 64)}  # random numbers, of which rows are made",
            "loss: wasserstein  # with a gradient penalty",
            f"discriminator_steps: {steps}  # for each update of the generator",
        ),
        epochs=epochs,
        batch_size=batch_size,
    )


def recipe_for_images(count: int, shape: tuple[int, int, int]) -> GenerationRecipe:
    """Return the recipe for images.

    Args:
        count: Their number.
        shape: Height, width and channels; multiples of 4 for more than 1,024 values.
    """
    height, width, channels = shape
    values = height * width * channels
    batch_size, epochs = _lengths(count, 1)
    generator, discriminator = (
        _dense_layers(values) if values <= _DENSE_IMAGE else _convolutions(height, width)
    )
    return GenerationRecipe(
        generator=generator,
        discriminator=discriminator,
        rate="5e-4" if values <= _SMALL_IMAGE else "2e-4",
        generation=(
            f"latent: {_power_of_two(values // 8, 32, 128)}  # random numbers, of which images are made",
            "label_smoothing: 0.1  # keeps the discriminator from becoming overconfident",
        ),
        epochs=epochs,
        batch_size=batch_size,
    )


def fitting_side(side: int, values: int) -> int:
    """Return a side of images that the networks can generate.

    Args:
        side: The side.
        values: Values of an image.
    """
    if values <= _DENSE_IMAGE:
        return side
    return max(side // _CONVOLUTION_STRIDE, 2) * _CONVOLUTION_STRIDE


def _dense_layers(values: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    small, large = (128, 256) if values <= _SMALL_IMAGE else (256, 512)
    generator = tuple(
        line
        for units in (small, large)
        for line in (f"- dense: {{units: {units}, {_LEAKY}}}", "- batch_normalization")
    )
    discriminator = tuple(
        line
        for units in (large, small)
        for line in (f"- dense: {{units: {units}, {_LEAKY}}}", "- dropout: 0.3")
    )
    return generator, ("- flatten", *discriminator)


def _convolutions(height: int, width: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return layers that double the size twice, and that halve it twice."""
    first = height // _CONVOLUTION_STRIDE, width // _CONVOLUTION_STRIDE
    doubling = "kernel_size: 4, strides: 2, padding: same"
    generator = (
        f"- dense: {{units: {first[0] * first[1] * 64}, {_LEAKY}}}",
        f"- reshape: [{first[0]}, {first[1]}, 64]",
        "- batch_normalization",
        f"- conv2d_transpose: {{filters: 64, {doubling}, {_LEAKY}}}",
        "- batch_normalization",
        f"- conv2d_transpose: {{filters: 32, {doubling}, {_LEAKY}}}",
        "- batch_normalization",
    )
    discriminator = (
        f"- conv2d: {{filters: 32, {doubling}, {_LEAKY}}}",
        f"- conv2d: {{filters: 64, {doubling}, {_LEAKY}}}",
        "- flatten",
        "- dropout: 0.3",
    )
    return generator, discriminator


def _lengths(rows: int, discriminator_steps: int) -> tuple[int, int]:
    """Return the batch size and the number of epochs."""
    training = max(int(_TRAINING_SHARE * rows), 1)
    per_step = training // discriminator_steps
    batch_size = _power_of_two(per_step // (2 * _STEPS_PER_EPOCH), _MIN_BATCH, _MAX_BATCH)
    batch_size = max(1, min(batch_size, per_step))
    steps = max(training // (batch_size * discriminator_steps), 1)
    return batch_size, min(max(round(_STEPS / steps), _MIN_EPOCHS), _MAX_EPOCHS)


def _power_of_two(number: int, least: int, most: int) -> int:
    """Return the smallest power of two of at least `number`, within limits."""
    return min(max(1 << max(number - 1, 0).bit_length(), least), most)
